"""A whole migration, step by step; run again after any interruption, it goes on where it stopped."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class

from cli.migrate import records
from cli.migrate.backup import archive_path, make_backup
from cli.migrate.check import Check, Done, client_of
from cli.migrate.check_runs import history_interval
from cli.migrate.comparison import Comparison
from cli.migrate.findings import Findings
from cli.migrate.options import Options, Verify
from cli.migrate.plan import ConflictError, Plan, Taken, make_plan, read_taken
from cli.migrate.pool import Pool
from cli.migrate.progress import Meter
from cli.migrate.records import EXPERIMENT, LOGGED_MODEL, MODEL, RUN, Records
from cli.migrate.report import Report
from cli.migrate.session import Session
from cli.migrate.target import (
    TargetError,
    advance_sequence,
    connect,
    read_limits,
    take_lock,
    transaction,
)
from cli.migrate.transfer import Transfer, timed, work_of
from cli.migrate.verification import verify

KINDS = (EXPERIMENT, RUN, LOGGED_MODEL, MODEL)


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
            own = Records(cursor, options.source)
            own.forget_faults()
            own.keep(findings)
            advance_sequence(cursor)
        _write(options, connection, plan, report, meter)
        with transaction(connection) as cursor:
            summarise(Records(cursor, options.source), report)
        with timed(report, "verification"):
            compare(options, connection, plan, report, meter)


def summarise(own: Records, report: Report) -> None:
    """Put what the target remembers of a source into the report."""
    report.findings = own.kept()
    report.in_target = {kind: len(own.done(kind)) for kind in KINDS}


def compare(options: Options, connection: Connection, plan: Plan, report: Report, meter: Meter) -> None:
    """Compare source and target and put the result into the report."""
    if options.verify is Verify.OFF:
        return
    with transaction(connection) as cursor:
        own = Records(cursor, options.source)
        done = Done({kind: own.done(kind) for kind in KINDS}, {kind: own.digests(kind) for kind in KINDS})
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
            if not records.exists(cursor) or not Records(cursor, options.source).done(EXPERIMENT):
                raise TargetError(f"nothing was migrated from {options.root} into this database")
            limits = read_limits(cursor)
        plan = make_plan(options.root, limits, Taken(), options.on_conflict, options.only, Findings())
        report.describe(plan)
        with transaction(connection) as cursor:
            summarise(Records(cursor, options.source), report)
        compare(options, connection, plan, report, meter)


def plan_of(options: Options, connection: Connection, findings: Findings) -> Plan:
    """Read what is to be done and settle conflicts; nothing is written."""
    with transaction(connection) as cursor:
        limits, taken = read_limits(cursor), read_taken(cursor, options.source)
    plan = make_plan(options.root, limits, taken, options.on_conflict, options.only, findings)
    if plan.refusal:
        raise ConflictError(plan.refusal)
    return plan


def _back_up(options: Options, folder: Path, report: Report, meter: Meter) -> None:
    archive = archive_path(folder, options.root, datetime.now(UTC).date())
    with meter.step("backup", None) as step:
        report.backup_digest = make_backup(options.root, archive, lambda _: step.advance())
    report.backup = str(archive)


def _write(options: Options, connection: Connection, plan: Plan, report: Report, meter: Meter) -> None:
    @contextmanager
    def session() -> Iterator[Session]:
        with transaction(connection) as cursor:
            yield Session(cursor, options.source, options.bounds)

    with transaction(connection) as cursor:
        work = work_of(options, read_limits(cursor))
    with Pool(work, options.processes) as pool:
        Transfer(options, plan, report, meter, session, work, pool).carry_out()
