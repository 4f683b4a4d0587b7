"""`--dry-run`: what a migration does, with nothing written: the server refuses it, and what was done is remembered.

So a rehearsal finds every problem that a migration finds, but for those of writing: files that cannot be read to their
end or copied, and a server or a disk that fails.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing, nullcontext
from dataclasses import astuple, replace
from itertools import count
from pathlib import Path

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class

from cli.migrate.artifacts import ArtifactStore, Copied, artifact_files
from cli.migrate.findings import Finding, Findings
from cli.migrate.job import KINDS
from cli.migrate.limits import Limits
from cli.migrate.options import Options
from cli.migrate.plan import Taken, make_plan, read_taken
from cli.migrate.progress import Meter
from cli.migrate.records import MODEL, Records, exists
from cli.migrate.report import Report
from cli.migrate.rows import Rows
from cli.migrate.session import Session
from cli.migrate.target import connect, is_initialised, read_limits
from cli.migrate.transfer import Transfer, work_of


def rehearse(options: Options, report: Report, meter: Meter) -> None:
    """Read everything and report what would be done and every problem; nothing is changed anywhere."""
    findings, options = Findings(), replace(options, store=RehearsedStore(*astuple(options.store)))
    with closing(connect(options.url)) as connection:
        connection.set_session(readonly=True, autocommit=True)
        cursor = connection.cursor()
        ready = is_initialised(cursor)
        limits = read_limits(cursor) if ready else Limits()
        taken = read_taken(cursor, options.source) if ready else Taken()
        plan = make_plan(options.root, limits, taken, options.on_conflict, options.only, findings)
        report.describe(plan)
        session = RehearsedSession(cursor, options, ready=ready)
        session.records.keep(findings)
        report.in_target = {kind: len(session.records.done(kind)) for kind in KINDS}
        transfer = Transfer(options, plan, report, meter, lambda: nullcontext(session), work_of(options, limits))
        transfer.carry_out()
        report.plan = plan.sentences()
        report.experiments = {}  # their numbers are given when they are written
        report.findings = session.records.kept()


class RehearsedStore(ArtifactStore):
    """Looks for the artifacts that would be copied."""

    def put(self, source: Path, uri: str, where: str, tree: Path, findings: Findings) -> Copied:
        """Return how many files would be copied to a URI."""
        sizes = [size for _, _, size in artifact_files(source, where, tree, findings)]
        return Copied(len(sizes), sum(sizes))


class RehearsedRecords(Records):
    """Adds to what the target remembers what a rehearsal claims and finds."""

    def __init__(self, cursor: Cursor, source: str) -> None:
        super().__init__(cursor, source)
        self._exist = exists(cursor)
        self._done: dict[str, dict[str, str]] = {}
        self._found: dict[Finding, None] = dict.fromkeys(self.lasting() if self._exist else [])
        self.brought: defaultdict[str, set[str]] = defaultdict(set)

    def claim(self, kind: str, keys: Iterable[str]) -> set[str]:
        """Take items on and return those that nobody had."""
        new = set(keys) - self.done(kind).keys()
        self.done(kind).update(dict.fromkeys(new, ""))
        return new

    def forget(self, kind: str, keys: Iterable[str]) -> None:
        """Give back items that were claimed."""
        for key in keys:
            del self.done(kind)[key]

    def finish(self, kind: str, items: list[tuple[str, str, str]]) -> None:
        """Remember what claimed items would become."""
        self.done(kind).update({key: target for key, target, _ in items})
        self.brought[kind] |= {target if kind == MODEL else key for key, target, _ in items}

    def done(self, kind: str) -> dict[str, str]:
        """Return the items of a kind that are migrated, or would be by now."""
        if kind not in self._done:
            self._done[kind] = super().done(kind) if self._exist else {}
        return self._done[kind]

    def target_of(self, kind: str, key: str) -> str | None:
        """Return what an item became or would become."""
        return self.done(kind).get(key)

    def keep(self, findings: Findings) -> None:
        """Remember findings, each once."""
        self._found |= dict.fromkeys(findings.items)

    def kept(self) -> list[Finding]:
        """Return all findings, by path."""
        return sorted(self._found, key=lambda finding: (finding.path, finding.reason))


class RehearsedSession(Session):
    """Knows of the target what it holds and what the rehearsal would have brought; `ready`: MLflow's tables exist."""

    def __init__(self, cursor: Cursor, options: Options, *, ready: bool) -> None:
        super().__init__(cursor, options.source, options.bounds)
        self.records: RehearsedRecords = RehearsedRecords(cursor, options.source)
        self._ready, self._numbers = ready, count(-1, -1)

    def rows(self) -> Rows:
        """Return rows that are counted."""
        return RehearsedRows(self._cursor, self._bounds)

    def write(self, query: sql.Composed, rows: Sequence[tuple[object, ...]]) -> None:
        """Write nothing."""

    def held(self, kind: str, keys: Iterable[str]) -> set[str]:
        """Return which of these the target has, or would have by now."""
        wanted = set(keys)
        return (super().held(kind, wanted) if self._ready else set()) | wanted & self.records.brought[kind]

    def new_experiment(self) -> int:
        """Return a number that no experiment has."""
        return next(self._numbers)

    def datasets(self, experiment: int) -> dict[tuple[str, str], str]:
        """Return the ids of an experiment's data sets in the target."""
        return super().datasets(experiment) if self._ready else {}

    def capture(self) -> None:
        """Change nothing."""

    def settle(self) -> None:
        """Have nothing to be put on disk."""


class RehearsedRows(Rows):
    """Rows that go nowhere."""

    def send(self, table: str, lines: list[str]) -> int:
        """Return how many rows would be written, if none is there."""
        return len(lines)
