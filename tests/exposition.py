"""Prometheus's text format, read."""

from prometheus_client.parser import text_string_to_metric_families


def counted(exposed: str) -> dict[tuple[str, ...], float]:
    """Return each sample by its name and the values of its labels."""
    families = text_string_to_metric_families(exposed)
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}
