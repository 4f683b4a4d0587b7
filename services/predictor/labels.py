"""Classes as texts, where an answer can hold nothing else."""


def text_of(label: object) -> str:
    """Return a class as JSON names it: `true`, not `True`, beside a prediction that is `true`."""
    return str(label).lower() if isinstance(label, bool) else str(label)
