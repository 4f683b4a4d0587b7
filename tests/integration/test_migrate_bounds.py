"""A store that is many times what a migration holds at a time: histories of many pieces, and a batch for each run."""

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from multiprocessing.context import SpawnProcess
from pathlib import Path

import psycopg2
import pytest

from cli.migrate.artifacts import ArtifactStore
from cli.migrate.bounds import Bounds
from cli.migrate.findings import Action
from cli.migrate.job import migrate
from cli.migrate.options import Options, Verify
from cli.migrate.progress import meter
from cli.migrate.report import Report
from tests.integration.filestores import LARGEST, Database, fresh, template
from tests.integration.raw_filestore import experiment, run, value, write_meta
from tests.servers import wait_for

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # MLflow's SQL store warns of itself
    pytest.mark.timeout(300),
]
SHORT, LONG = "a" * 32, "b" * 32
BOUNDS = Bounds(runs=1, points=10, chars=2_000)  # of the history below eleven pieces, sent in several goes
POINTS, HELD = 100, 35
GATE = 35  # an advisory lock
HOLD = f"""
    CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock({GATE}); RETURN NEW; END $$;
    CREATE TRIGGER hold BEFORE INSERT ON metrics FOR EACH ROW WHEN (NEW.step = {HELD}) EXECUTE FUNCTION hold()
"""
WAITING = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
        AND query ~ 'INSERT INTO metrics .* FROM later_metrics'
"""


@pytest.fixture
def target(database_url: str, tmp_path: Path) -> Iterator[Database]:
    name = template(database_url, tmp_path / "nothing")
    with fresh(database_url, name, tmp_path / "artifacts") as database:
        yield database


def options(source: Path, target: Database) -> Options:
    store = ArtifactStore(str(target.artifacts), target.artifacts)
    return Options(source, target.url, store, processes=1, verify=Verify.FULL, bounds=BOUNDS)


def migrate_it(source: Path, target: Database) -> Report:
    """Migrate a store with small bounds."""
    report = Report(str(source), target.url)
    with meter() as shown:
        migrate(options(source, target), report, shown)
    return report


def migrate_in_a_group(source: Path, target: Database) -> None:
    """Do so in a process group of this process's own."""
    os.setsid()
    migrate_it(source, target)


def points() -> list[tuple[int, float, int]]:
    """Return time, value and step of each point of the long history, in order."""
    special = {50: float("nan"), 60: float("inf")}
    return [(1_600_000_000_000 + step, special.get(step, step / 8), step) for step in range(POINTS)]


def lines(*more: str) -> str:
    """Return the long history as MLflow writes it, every fifth point once more two pieces later."""
    written = [" ".join([str(time), str(number), str(step), *more]) for time, number, step in points()]
    repeated = [[line, written[at - 20]] if at >= 20 and at % 5 == 0 else [line] for at, line in enumerate(written)]
    return "".join(f"{line}\n" for group in repeated for line in group)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Write a short run, and one with a long history that a logged model has, too."""
    root = tmp_path / "mlruns"
    folder = experiment(root, "1", "long")
    run(folder, SHORT)
    value(run(folder, LONG), "metrics/long", lines())
    meta = {"name": "model", "status": 2, "creation_timestamp": 1, "last_updated_timestamp": 2, "source_run_id": LONG}
    write_meta(
        folder / "models" / "m-1", {**meta, "model_id": "m-1", "experiment_id": "1", "lifecycle_stage": "active"}
    )
    value(folder / "models" / "m-1", "metrics/long", lines(LONG))
    return root


def check_history(target: Database, report: Report) -> None:
    """Check that every point is there once and in order, as MLflow's client says, and that the report says so too."""
    stored = {step: number for _, number, step in points()} | {60: LARGEST}
    expected = [(time, str(stored[step]), step) for time, _, step in points()]
    found = target.client.get_metric_history(LONG, "long")
    assert [(m.timestamp, str(m.value), m.step) for m in found] == expected
    assert target.query("SELECT count(*) FROM metrics WHERE run_uuid = %s AND key = 'long'", LONG) == [(POINTS,)]
    assert target.client.get_run(LONG).data.metrics["long"] == points()[-1][1]
    of_model = target.client.get_logged_model("m-1").metrics or []
    assert sorted((m.timestamp, m.step) for m in of_model) == [(time, step) for time, _, step in points()]
    assert {m.run_id for m in of_model} == {LONG}
    assert report.is_whole, report.findings
    tally = report.verification["kinds"]["metric point"]
    assert (tally["source"], tally["target"], tally["equal"]) == (*[POINTS + 2 * 2] * 2, True)  # two runs have metric m


def test_a_history_of_many_pieces_is_there_once_and_in_order(source: Path, target: Database) -> None:
    check_history(target, migrate_it(source, target))
    again = migrate_it(source, target)
    assert not any(again.written.values())
    check_history(target, again)


def kill(process: SpawnProcess, _target: Database) -> None:
    assert process.pid is not None
    os.killpg(process.pid, signal.SIGKILL)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL


def end_the_session(process: SpawnProcess, target: Database) -> None:
    target.query(f"SELECT pg_terminate_backend(pid) FROM ({WAITING}) AS waiting")
    process.join(60)
    assert process.exitcode == 1


@pytest.mark.parametrize("interrupt", [kill, end_the_session])
def test_a_migration_that_ends_between_two_pieces_goes_on(
    interrupt: Callable[[SpawnProcess, Database], None], source: Path, target: Database
) -> None:
    target.query(HOLD)
    process = multiprocessing.get_context("spawn").Process(target=migrate_in_a_group, args=(source, target))
    with closing(psycopg2.connect(target.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (GATE,))
        process.start()
        try:
            wait_for("a piece that is held", lambda: bool(target.query(WAITING)) or not process.is_alive(), 120)
            assert process.is_alive()
            interrupt(process, target)
        finally:
            process.kill()
            process.join(30)
    assert target.query("SELECT run_uuid FROM runs") == [(SHORT,)]
    target.query("DROP FUNCTION hold() CASCADE")  # waits for the session that was left behind
    assert target.query("SELECT DISTINCT run_uuid FROM metrics") == [(SHORT,)]
    check_history(target, migrate_it(source, target))


def test_copies_of_a_run_in_different_batches_are_reported(tmp_path: Path, target: Database) -> None:
    root = tmp_path / "mlruns"
    first, second = experiment(root, "1", "first"), experiment(root, "2", "second")
    run(first, SHORT)
    run(first, LONG).rename(first / "renamed")
    shutil.copytree(first / "renamed", first / "renamed (copy)")
    shutil.copytree(first / "renamed", second / "a copy that sorts first")
    run(second, "c" * 32)
    for _ in range(2):
        report = migrate_it(root, target)
        kept = {f.path: f.reason for f in report.findings if f.action is Action.QUARANTINED}
        reason = f"a copy: run {LONG} is kept from 1/renamed"
        assert kept == {"1/renamed (copy)": reason, "2/a copy that sorts first": reason}
        assert report.is_verified, report.verification["differences"]
        assert report.in_target["run"] == 3
        assert target.query("SELECT run_uuid FROM runs ORDER BY 1") == [(SHORT,), (LONG,), ("c" * 32,)]
        assert target.client.get_run(LONG).info.experiment_id == str(report.experiments["1"])
