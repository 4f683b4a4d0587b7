"""Faults as one sentence, for protocols whose errors are a text."""

from shared.errors import BatonError, InputError

MOST_SAID = 10


def sentence(error: BatonError) -> str:
    """Return an error's message, with its first faults."""
    if not isinstance(error, InputError):
        return str(error)
    said = "; ".join(map(_said, error.faults[:MOST_SAID]))
    more = f"; and {len(error.faults) - MOST_SAID} more" if len(error.faults) > MOST_SAID else ""
    return f"{error}: {said}{more}"


def _said(fault: dict[str, object]) -> str:
    row = f" in row {fault['row']}" if "row" in fault else ""
    return f"{fault['field'] or 'it'}{row} is {fault['got']!r}, expected {fault['expected']}"
