"""`--dry-run`: the whole source read, the plan and every problem reported, nothing changed anywhere."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path

from cli.migrate.artifacts import artifact_files
from cli.migrate.findings import Findings
from cli.migrate.limits import Limits
from cli.migrate.logged_model import read_logged_model
from cli.migrate.options import Options
from cli.migrate.plan import PlannedExperiment, Taken, make_plan, read_taken
from cli.migrate.progress import Meter
from cli.migrate.report import Report
from cli.migrate.run import read_run
from cli.migrate.source_place import SourcePlace, place_of_model, place_of_run
from cli.migrate.target import connect, is_initialised, read_limits, transaction
from cli.migrate.tree import RunFolder


def rehearse(options: Options, report: Report, meter: Meter) -> None:
    """Read everything and report what would be done and every problem; nothing is changed anywhere."""
    findings = Findings()
    with closing(connect(options.url)) as connection, transaction(connection) as cursor:
        ready = is_initialised(cursor)
        limits = read_limits(cursor) if ready else Limits()
        taken = read_taken(cursor, options.source) if ready else Taken()
    plan = make_plan(options.root, limits, taken, options.on_conflict, options.only, findings)
    report.describe(plan)
    report.found["artifact file"] = 0
    with meter.step("reading", plan.runs + plan.logged_models) as step:
        for planned in plan.experiments:
            for place in _read_items(planned, options.root, limits, findings):
                report.found["artifact file"] += _count_artifacts(place, findings) if place else 0
                step.advance()
    report.findings = list(dict.fromkeys(findings.items))


def _read_items(
    planned: PlannedExperiment, root: Path, limits: Limits, findings: Findings
) -> Iterator[SourcePlace | None]:
    """Read the runs and logged models of an experiment, and yield where the artifacts of each are."""
    location = planned.experiment.artifact_location
    for path in planned.runs:
        run = read_run(RunFolder(planned.experiment.id, path), root, limits, findings)
        _read_through(history.pieces(findings) for history in (run.metrics.values() if run else ()))
        yield place_of_run(root, path, run.id, run.artifact_uri, location) if run else None
    for path in planned.logged_models:
        model = read_logged_model(path, root, limits, findings)
        _read_through(history.model_pieces(findings) for history in (model.metrics.values() if model else ()))
        yield place_of_model(root, path, model.id, model.artifact_location, location) if model else None


def _read_through(histories: Iterable[Iterable[object]]) -> None:
    deque(chain.from_iterable(histories), maxlen=0)


def _count_artifacts(place: SourcePlace, findings: Findings) -> int:
    if place.remote:
        return 0
    return sum(1 for _ in artifact_files(place.artifacts(findings), place.where, place.root, findings))
