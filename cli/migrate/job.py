"""A whole migration, step by step; run again after any interruption, it goes on where it stopped."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class

from cli.migrate import records
from cli.migrate.backup import archive_path, make_backup
from cli.migrate.batch import LOGGED_MODEL, RUN, Batch, Work
from cli.migrate.check import Check, Done, client_of
from cli.migrate.check_runs import history_interval
from cli.migrate.comparison import Comparison
from cli.migrate.findings import Findings
from cli.migrate.options import Options, Verify
from cli.migrate.plan import EXPERIMENT, MODEL, Plan, Taken, make_plan, read_taken
from cli.migrate.pool import Pool
from cli.migrate.progress import Meter
from cli.migrate.registered import Registered
from cli.migrate.report import Report
from cli.migrate.target import (
    TargetError,
    advance_sequence,
    connect,
    read_limits,
    take_lock,
    transaction,
)
from cli.migrate.verification import verify
from cli.migrate.writing import Writer

KINDS = (EXPERIMENT, RUN, LOGGED_MODEL, MODEL)


@contextmanager
def timed(report: Report, step: str) -> Iterator[None]:
    """Note how long a step took."""
    began = time.monotonic()
    yield
    report.seconds[step] = round(time.monotonic() - began, 2)


def migrate(options: Options, report: Report, meter: Meter) -> None:
    """Carry out a migration and fill in its report."""
    findings = Findings()
    with closing(connect(options.url)) as connection:
        take_lock(connection)
        with timed(report, "plan"):
            plan = plan_of(options, connection, findings)
        report.describe(plan)
        if options.backup is not None:
            with timed(report, "backup"):
                _back_up(options, options.backup, report, meter)
        with transaction(connection) as cursor:
            records.create(cursor)
            records.forget_faults(cursor, options.source)
            records.keep(cursor, options.source, findings)
            advance_sequence(cursor)
        _write(options, connection, plan, report, meter)
        with transaction(connection) as cursor:
            summarise(cursor, options.source, report)
        with timed(report, "verification"):
            compare(options, connection, plan, report, meter)


def summarise(cursor: Cursor, source: str, report: Report) -> None:
    """Put what the target remembers of a source into the report."""
    report.findings = records.kept(cursor, source)
    report.in_target = {kind: len(records.done(cursor, source, kind)) for kind in KINDS}


def compare(options: Options, connection: Connection, plan: Plan, report: Report, meter: Meter) -> None:
    """Compare source and target and put the result into the report."""
    if options.verify is Verify.OFF:
        return
    with transaction(connection) as cursor:
        done = Done(
            {kind: records.done(cursor, options.source, kind) for kind in KINDS},
            {kind: records.digests(cursor, options.source, kind) for kind in KINDS},
        )
        limits = read_limits(cursor)
    every = history_interval(plan.runs, whole=options.verify is Verify.FULL)
    comparison = Comparison()
    with client_of(options.url) as client, meter.step("verification", len(done.targets[RUN])) as step:
        check = Check(client, connection, options.root, limits, options.store, done, every, comparison, options.bounds)
        verify(check, plan, step)
    report.verification = {**comparison.to_json(), "histories": f"1 in {every}" if every > 1 else "all"}


def verify_alone(options: Options, report: Report, meter: Meter) -> None:
    """Repeat the verification of a migration that was carried out before."""
    with closing(connect(options.url)) as connection:
        with transaction(connection) as cursor:
            if not records.exists(cursor) or not records.done(cursor, options.source, EXPERIMENT):
                raise TargetError(f"nothing was migrated from {options.root} into this database")
            limits = read_limits(cursor)
        plan = make_plan(options.root, limits, Taken(), options.on_conflict, options.only, Findings())
        report.describe(plan)
        with transaction(connection) as cursor:
            summarise(cursor, options.source, report)
        compare(options, connection, plan, report, meter)


def plan_of(options: Options, connection: Connection, findings: Findings) -> Plan:
    """Read what is to be done and settle conflicts; nothing is written."""
    with transaction(connection) as cursor:
        limits, taken = read_limits(cursor), read_taken(cursor, options.source)
    return make_plan(options.root, limits, taken, options.on_conflict, options.only, findings)


def _back_up(options: Options, folder: Path, report: Report, meter: Meter) -> None:
    archive = archive_path(folder, options.root, datetime.now(UTC).date())
    with meter.step("backup", None) as step:
        report.backup_digest = make_backup(options.root, archive, lambda _: step.advance())
    report.backup = str(archive)


def _write(options: Options, connection: Connection, plan: Plan, report: Report, meter: Meter) -> None:
    with transaction(connection) as cursor:
        limits = read_limits(cursor)
    writer = Writer(connection, options.source, options.root, options.store, Findings())
    work = Work(
        options.url,
        options.source,
        options.root,
        limits,
        options.store,
        options.since,
        options.is_partial,
        options.bounds,
    )
    with timed(report, "experiments"):
        places = {p.experiment.id: writer.experiment(p.experiment) for p in plan.experiments}
    report.experiments = {name: number for name, (number, _) in places.items()}
    with Pool(work, options.processes) as pool:
        for kind, title in ((RUN, "runs"), (LOGGED_MODEL, "logged models")):
            with timed(report, title), meter.step(title, report.found[kind]) as step:
                batches = list(_batches(kind, plan, places, connection, options))
                step.advance(report.found[kind] - sum(len(batch.folders) for batch in batches))
                for outcome in pool.run(batches):
                    step.advance(outcome.items)
                    for name, number in (
                        (kind, outcome.written),
                        ("metric point", outcome.points),
                        ("artifact file", outcome.files),
                        ("artifact byte", outcome.bytes),
                    ):
                        report.written[name] = report.written.get(name, 0) + number
    with timed(report, "registered models"):
        _write_models(writer, plan, options, report)


def _batches(
    kind: str, plan: Plan, places: dict[str, tuple[int, dict[str, str]]], connection: Connection, options: Options
) -> Iterator[Batch]:
    """Yield the folders that no earlier attempt migrated."""
    size = options.bounds.runs
    with transaction(connection) as cursor:
        done = records.done(cursor, options.source, kind).keys()
    for planned in plan.experiments:
        number, datasets = places[planned.experiment.id]
        folders = planned.runs if kind == RUN else planned.logged_models
        left = [path for path in folders if path.name not in done]
        for begin in range(0, len(left), size):
            yield Batch(
                kind, planned.experiment.id, number, datasets, left[begin : begin + size],
                planned.experiment.artifact_location,
            )  # fmt: skip


def _covered(writer: Writer, plan: Plan) -> list[Registered]:
    """Return the registered models all of whose versions come from migrated runs; others wait for a whole migration."""
    with transaction(writer.connection) as cursor:
        runs = records.done(cursor, writer.source, RUN).keys()
    return [model for model in plan.models if all(version.run_id in runs for version in model.versions)]


def _write_models(writer: Writer, plan: Plan, options: Options, report: Report) -> None:
    """Write the registry, and when all of it stands, the champions: predictors see nothing half-way."""
    originals = {new: old for old, new in plan.renamed.items()}
    if options.is_partial:
        plan.models = _covered(writer, plan)
    for model in plan.models:
        written = writer.model(model, originals.get(model.name, model.name))
        report.written[MODEL] = report.written.get(MODEL, 0) + written
    with transaction(writer.connection) as cursor:
        cursor.execute("SET LOCAL synchronous_commit = on")  # with this commit everything before it is on disk
        cursor.execute("SELECT pg_current_xact_id()")
    for model in plan.models:
        champion = writer.champion(model, originals.get(model.name, model.name))
        if champion is not None:
            report.champions[model.name] = champion
