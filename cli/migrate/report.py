"""The report of a migration: in the terminal and as one JSON object."""

from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table
from rich.text import Text

from cli.migrate.batch import Outcome
from cli.migrate.findings import Action, Finding, Findings
from cli.migrate.plan import Plan
from cli.migrate.records import EXPERIMENT, LOGGED_MODEL, MODEL, RUN

SHOWN = 20


@dataclass
class Report:
    """What a migration did; `written` counts this attempt, `in_target` everything from this source.

    Of a rehearsal `to_write` counts what an attempt would write, at most, `refusal` says why it would write nothing.
    """

    source: str
    target: str
    dry_run: bool = False
    backup: str = ""
    backup_digest: str = ""
    refusal: str = ""
    found: dict[str, int] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    to_write: dict[str, int] = field(default_factory=dict)
    in_target: dict[str, int] = field(default_factory=dict)
    experiments: dict[str, int] = field(default_factory=dict)
    plan: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    champions: dict[str, int] = field(default_factory=dict)
    not_migrated: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    verification: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Tell whether everything went through: nothing quarantined, skipped, left out or different."""
        left = {Action.QUARANTINED, Action.SKIPPED}
        return not any(finding.action in left for finding in self.findings) and self.is_verified

    @property
    def is_verified(self) -> bool:
        """Tell whether source and target agree, as far as they were compared."""
        return not self.verification.get("differences")

    def describe(self, plan: Plan) -> None:
        """Take over what was found in the source."""
        self.found = {
            EXPERIMENT: len(plan.experiments),
            RUN: plan.runs,
            LOGGED_MODEL: plan.logged_models,
            MODEL: len(plan.models),
        }
        self.renamed, self.refusal = plan.renamed, plan.refusal
        self.not_migrated = {"traces": plan.traces, "assessments": plan.assessments}

    def count(self, kind: str, outcome: Outcome) -> None:
        """Add what a batch of runs or logged models did."""
        self.add(kind, outcome.written)
        self.add("metric point", outcome.points)
        self.add("artifact file", outcome.files)
        self.add("artifact byte", outcome.bytes)

    def add(self, kind: str, number: int) -> None:
        """Add to what was written, or would be."""
        numbers = self.to_write if self.dry_run else self.written
        numbers[kind] = numbers.get(kind, 0) + number

    def to_json(self) -> dict[str, Any]:
        """Return the report as values for JSON."""
        return {**asdict(self), "counts": Findings(self.findings).count(), "whole": self.is_whole}

    def tables(self) -> list[Table | str]:
        """Return what is printed, from top to bottom."""
        parts: list[Table | str] = [*(self.plan if self.dry_run else []), self._numbers()]
        if self.backup:
            parts.append(f"backup  {self.backup}\n        sha256:{self.backup_digest}")
        if self.verification:
            parts.append(self._verification())
            parts += [f"different: {text}" for text in self.verification["differences"][:SHOWN]]
        for name, version in self.champions.items():
            parts.append(f"champion of {name}: version {version}{' (to be)' if self.dry_run else ''}")
        left = [f"{number:,} {kind}" for kind, number in self.not_migrated.items() if number]
        if left:
            parts.append(f"not migrated: {', '.join(left)} (MLflow keeps traces apart; see docs)")
        if self.findings:
            parts.append(self._findings())
        return parts

    def _numbers(self) -> Table:
        now, title = (self.to_write, "to be written") if self.dry_run else (self.written, "written now")
        table = Table("kind", "in source", title, "in target", box=None, header_style="bold")
        for kind, number in self.found.items():
            table.add_row(kind, f"{number:,}", f"{now.get(kind, 0):,}", f"{self.in_target.get(kind, 0):,}")
        for kind in sorted(now.keys() - self.found.keys()):
            table.add_row(kind, "", f"{now[kind]:,}", "")
        return table

    def _verification(self) -> Table:
        table = Table("verified", "source", "target", "equal", box=None, header_style="bold")
        for kind, tally in self.verification["kinds"].items():
            table.add_row(
                kind, f"{tally['source']:,}", f"{tally['target']:,}", "yes" if tally["equal"] else Text("NO", "red")
            )
        return table

    def _findings(self) -> Table:
        counts = Findings(self.findings).count()
        title = ", ".join(f"{number:,} {action}" for action, number in sorted(counts.items()))
        table = Table(
            "action", "kind", "where", "why", title=title, box=None, header_style="bold", title_justify="left"
        )
        order = [Action.QUARANTINED, Action.SKIPPED, Action.REPAIRED, Action.NOTED]
        ranked = sorted(self.findings, key=lambda finding: order.index(finding.action))
        shown = len(ranked) if self.dry_run else SHOWN  # a rehearsal is made to read all
        for finding in ranked[:shown]:
            table.add_row(finding.action, finding.kind, finding.path, finding.reason)
        if len(ranked) > shown:
            table.add_row("…", "", f"{len(ranked) - shown:,} more: see --report FILE or --json", "")
        return table
