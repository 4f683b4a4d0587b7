"""Carrying a plan over, step by step: what a migration and its rehearsal have in common."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cli.migrate.batch import Batch, Outcome, Work, migrate
from cli.migrate.findings import Findings
from cli.migrate.limits import Limits
from cli.migrate.options import Options
from cli.migrate.plan import Plan
from cli.migrate.pool import Pool
from cli.migrate.progress import Meter
from cli.migrate.records import LOGGED_MODEL, MODEL, RUN
from cli.migrate.registered import Registered
from cli.migrate.report import Report
from cli.migrate.session import Sessions
from cli.migrate.writing import Writer

Places = dict[str, tuple[int, dict[str, str]]]  # by experiment its new id, and by folder those of its data sets


def work_of(options: Options, limits: Limits) -> Work:
    """Return what all batches have in common."""
    return Work(
        options.url, options.source, options.root, limits, options.store, options.since, options.is_partial,
        options.bounds,
    )  # fmt: skip


@contextmanager
def timed(report: Report, step: str) -> Iterator[None]:
    """Note how long a step took."""
    began = time.monotonic()
    yield
    report.seconds[step] = round(time.monotonic() - began, 2)


@dataclass(frozen=True)
class Transfer:
    """Fills in the report of a plan's transfer; `session` opens transactions, `pool` is for more than one batch."""

    options: Options
    plan: Plan
    report: Report
    meter: Meter
    session: Sessions
    work: Work
    pool: Pool | None = None

    def carry_out(self) -> None:
        """Carry over what no earlier attempt did: experiments, runs, logged models, the registry, the champions."""
        writer = Writer(self.session, self.options.root, self.options.store, Findings())
        with timed(self.report, "experiments"):
            places = {p.experiment.id: writer.experiment(p.experiment) for p in self.plan.experiments}
        self.report.experiments = {name: number for name, (number, _) in places.items()}
        for kind, title in ((RUN, "runs"), (LOGGED_MODEL, "logged models")):
            with timed(self.report, title), self.meter.step(title, self.report.found[kind]) as step:
                batches = list(self._batches(kind, places))
                step.advance(self.report.found[kind] - sum(len(batch.folders) for batch in batches))
                for outcome in self._outcomes(batches):
                    step.advance(outcome.items)
                    self.report.count(kind, outcome)
        with timed(self.report, "registered models"):
            self._registry(writer)

    def _outcomes(self, batches: list[Batch]) -> Iterator[Outcome]:
        """Carry out batches; a single one here, for which no process has to start."""
        if self.pool is not None and len(batches) > 1:
            yield from self.pool.run(batches)
            return
        for batch in batches:
            with self.session() as session:
                outcome = migrate(session, self.work, batch)
            yield outcome

    def _batches(self, kind: str, places: Places) -> Iterator[Batch]:
        """Yield the folders that no earlier attempt migrated."""
        size = self.options.bounds.runs
        with self.session() as session:
            done = session.records.done(kind).keys()
        for planned in self.plan.experiments:
            number, datasets = places[planned.experiment.id]
            folders = planned.runs if kind == RUN else planned.logged_models
            left = [path for path in folders if path.name not in done]
            for begin in range(0, len(left), size):
                yield Batch(
                    kind, planned.experiment.id, number, datasets, left[begin : begin + size],
                    planned.experiment.artifact_location,
                )  # fmt: skip

    def _registry(self, writer: Writer) -> None:
        """Write the registry, and when all of it stands, the champions: predictors see nothing half-way."""
        originals = {new: old for old, new in self.plan.renamed.items()}
        if self.options.is_partial:
            self.plan.models = self._covered()
        for model in self.plan.models:
            written = writer.model(model, originals.get(model.name, model.name))
            self.report.add(MODEL, int(written))
        with self.session() as session:
            session.settle()
        for model in self.plan.models:
            champion = writer.champion(model, originals.get(model.name, model.name))
            if champion is not None:
                self.report.champions[model.name] = champion

    def _covered(self) -> list[Registered]:
        """Return the registered models all of whose versions come from migrated runs; others wait for all of them."""
        with self.session() as session:
            runs = session.records.done(RUN).keys()
        return [model for model in self.plan.models if all(version.run_id in runs for version in model.versions)]
