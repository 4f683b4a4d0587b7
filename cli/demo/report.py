"""What the demo saw: as one JSON object, and as tables for people."""

from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass
class Promotion:
    """One change of the champion; `delay_ms` from commit to serving, by worker."""

    version: str
    by: str
    reason: str
    delay_ms: dict[str, float] = field(default_factory=dict)


@dataclass
class Report:
    """What the demo saw; durations in seconds unless they say otherwise."""

    ready_s: float = 0.0
    total_s: float = 0.0
    requests: int = 0
    failed: int = 0
    versions: dict[str, int] = field(default_factory=dict)
    promotions: list[Promotion] = field(default_factory=list)
    refused: list[dict[str, str]] = field(default_factory=list)
    prediction: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as the JSON that `--json` prints."""
        return asdict(self)

    def show(self, console: Console) -> None:
        """Print the report as tables."""
        console.print()
        console.print(self._promotions())
        console.print()
        for refusal in self.refused:
            console.print(f"refused    version {refusal['version']}: {refusal['reason']}")
        seen = ", ".join(f"version {version} {count} times" for version, count in self.versions.items())
        console.print(f"answers    {seen}")
        console.print(f"requests   {self.requests} sent, {self.failed} failed")
        console.print(f"time       ready after {self.ready_s:.1f} s, {self.total_s:.1f} s in all")

    def _promotions(self) -> Table:
        workers = sorted({worker for promotion in self.promotions for worker in promotion.delay_ms})
        table = Table(title="Promotions: delay from commit to serving", title_justify="left", box=None)
        for heading in ("version", "promoted by", "reason", *(f"worker {worker}" for worker in workers)):
            table.add_column(heading, justify="right" if heading.startswith("worker") else "left")
        for promotion in self.promotions:
            delays = [promotion.delay_ms.get(worker) for worker in workers]
            cells = ["-" if delay is None else f"{delay:.1f} ms" for delay in delays]
            table.add_row(promotion.version, promotion.by, promotion.reason, *cells)
        return table
