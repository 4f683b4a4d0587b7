"""A store that is migrated more than once: in parts, repaired or added to in between, or another store at its path."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

from cli import output
from cli.migrate.artifacts import ArtifactStore
from cli.migrate.bounds import Bounds
from cli.migrate.findings import Action
from cli.migrate.job import migrate
from cli.migrate.options import Options, Verify
from cli.migrate.origin import OriginError
from cli.migrate.progress import meter
from cli.migrate.report import Report
from tests.integration.filestores import BATON, Database, baton_migrate, everything, fresh, template
from tests.integration.raw_filestore import experiment, logged_model, model, run, value, version, write_meta
from tests.servers import wait_for

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # MLflow's SQL store warns of itself
    pytest.mark.timeout(300),
]
HERE, THERE = "a" * 32, "b" * 32
GATE = 36  # an advisory lock
HELD = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"


@pytest.fixture
def target(database_url: str, tmp_path: Path) -> Iterator[Database]:
    name = template(database_url, tmp_path / "nothing")
    with fresh(database_url, name, tmp_path / "artifacts") as database:
        yield database


@pytest.fixture
def options(tmp_path: Path, target: Database) -> Options:
    store = ArtifactStore(str(target.artifacts), target.artifacts)
    return Options(tmp_path / "mlruns", target.url, store, processes=1, verify=Verify.FULL, bounds=Bounds(points=3))


def migrated(options: Options) -> Report:
    report = Report(options.source, options.url)
    with meter() as shown:
        migrate(options, report, shown)
    return report


def quarantined(report: Report) -> list[str]:
    return [finding.path for finding in report.findings if finding.action is Action.QUARANTINED]


def test_a_logged_model_waits_for_the_runs_that_its_metrics_name(options: Options, target: Database) -> None:
    own, other = experiment(options.root, "1", "own"), experiment(options.root, "2", "other")
    run(own, HERE)
    run(other, THERE)
    logged_model(own, "m-1", HERE, f"1 0.5 0 {HERE}\n2 0.25 1 {HERE}\n3 0.1 2 {HERE}\n4 0.05 3 {THERE}\n")
    logged_model(own, "m-2", HERE, f"1 0.5 0 {HERE}\n")
    part = migrated(replace(options, only=("own",)))
    assert (part.is_whole, part.findings) == (True, [])
    assert target.query("SELECT model_id FROM logged_models") == [("m-2",)]
    whole = migrated(options)
    assert (whole.is_whole, whole.findings) == (True, [])
    points = "SELECT metric_value, run_id FROM logged_model_metrics WHERE model_id = 'm-1' ORDER BY metric_step"
    assert target.query(points) == [(0.5, HERE), (0.25, HERE), (0.1, HERE), (0.05, THERE)]


def test_of_a_logged_model_s_points_of_one_key_the_first_stands(options: Options, target: Database) -> None:
    """Wherever the pieces part, here after three lines."""
    own = experiment(options.root, "1", "own")
    run(own, HERE)
    lines = [f"1 0.1 0 {HERE}", f"1 0.2 0 {HERE}", f"2 0.3 1 {HERE}", f"2 0.4 1 {HERE}", f"1 0.5 0 {HERE}"]
    logged_model(own, "m-1", HERE, "".join(f"{line}\n" for line in lines))
    migrated(options)
    points = "SELECT metric_step, metric_value FROM logged_model_metrics ORDER BY 1"
    assert target.query(points) == [(0, 0.1), (1, 0.3)]


def test_a_point_that_is_repeated_is_counted_once(options: Options, target: Database) -> None:
    value(run(experiment(options.root, "1", "own"), HERE), "metrics/m", "1 1 0\n2 2 1\n3 3 2\n1 1 0\n4 4 3\n1 1 0\n")
    assert migrated(options).written["metric point"] == 4
    assert target.query("SELECT count(*) FROM metrics") == [(4,)]


def test_another_store_at_the_path_of_one_is_refused(options: Options, target: Database) -> None:
    one = run(experiment(options.root, "1", "one"), HERE)
    version(model(options.root, "heart"), 1, one)
    assert migrated(options).is_whole
    before = everything(target.client)
    shutil.rmtree(options.root)
    run(experiment(options.root, "1", "two"), THERE)
    with pytest.raises(OriginError, match=r"experiment 1 .* was another one .'one', this is 'two'.*path of its own"):
        migrated(options)
    assert everything(target.client) == before


def test_another_store_s_model_of_the_same_name_does_not_count_as_done(options: Options, target: Database) -> None:
    version(model(options.root, "heart"), 1, run(experiment(options.root, "1", "one"), HERE))
    assert migrated(options).is_whole
    before = everything(target.client)
    shutil.rmtree(options.root)
    heart = model(options.root, "heart")
    write_meta(heart, {"creation_timestamp": 77, "last_updated_timestamp": 78, "name": "heart"})
    version(heart, 1, run(experiment(options.root, "2", "two"), THERE))
    with pytest.raises(OriginError, match=r"registered model heart .*path of its own"):
        migrated(options)
    assert everything(target.client) == before


def test_an_experiment_whose_meta_yaml_was_lost_is_the_same_once_it_is_repaired(options: Options) -> None:
    run(experiment(options.root, "1", "one"), HERE)
    content = (options.root / "1" / "meta.yaml").read_text()
    (options.root / "1" / "meta.yaml").write_text("")
    assert migrated(options).is_whole
    (options.root / "1" / "meta.yaml").write_text(content)
    assert migrated(replace(options, verify=Verify.OFF)).in_target["run"] == 1


def test_versions_and_aliases_that_come_later_are_added(options: Options, target: Database) -> None:
    one = run(experiment(options.root, "1", "one"), HERE)
    heart = model(options.root, "heart", first=1)
    version(heart, 1, one)
    version(heart, 2, one)
    damaged, content = heart / "version-2" / "meta.yaml", (heart / "version-2" / "meta.yaml").read_text()
    damaged.write_text("")
    assert quarantined(migrated(options)) == ["models/heart/version-2"]
    target.client.delete_registered_model_alias("heart", "first")
    damaged.write_text(content)
    version(heart, 3, one)
    value(heart, "aliases/second", "2")
    later = migrated(replace(options, verify=Verify.OFF))
    assert (quarantined(later), later.written["registered model"]) == ([], 0)
    found = everything(target.client)["registry"]["heart"]
    assert sorted(found["versions"]) == ["1", "2", "3"]
    assert found["aliases"] == {"second": "2"}  # what somebody took away since stays away


def test_what_the_client_does_not_find_is_missing(options: Options, target: Database) -> None:
    one = run(experiment(options.root, "1", "one"), HERE)
    logged_model(options.root / "1", "m-1", HERE, f"1 0.5 0 {HERE}\n")
    for name in ("heart", "lung"):
        folder = model(options.root, name)
        version(folder, 1, one, current_stage="Production")
        version(folder, 2, one)
    assert migrated(options).is_whole
    target.client.delete_model_version("heart", "2")
    target.client.delete_registered_model("lung")
    target.client.delete_logged_model("m-1")
    report = migrated(options)
    assert sorted(difference.partition(":")[0] for difference in report.verification["differences"]) == [
        "champion of lung",
        "logged model of m-1",
        "model version of heart/2",
        "model version of lung/1",
        "model version of lung/2",
        "registered model of lung",
    ]
    assert all("not in the target" in difference for difference in report.verification["differences"])


def test_a_run_that_was_repaired_and_migrated_is_no_longer_quarantined(options: Options) -> None:
    own = experiment(options.root, "1", "own")
    run(own, HERE)
    damaged = run(own, THERE).rename(own / "no run!")
    (damaged / "meta.yaml").write_text("")
    assert quarantined(migrated(options)) == ["1/no run!"]
    shutil.rmtree(damaged)
    run(own, THERE)
    report = migrated(options)
    assert (quarantined(report), report.is_whole, report.in_target["run"]) == ([], True, 2)


def test_what_stayed_behind_of_a_migrated_run_stays_in_the_report(options: Options) -> None:
    value(run(experiment(options.root, "1", "own"), HERE), "metrics/q", "1 0.5 0\nno point\n")
    for _ in range(2):
        assert quarantined(migrated(options)) == [f"1/{HERE}/metrics/q:2"]


def test_a_server_that_goes_away_midway_is_said_by_the_exit_code(options: Options, target: Database) -> None:
    run(experiment(options.root, "1", "own"), HERE)
    target.query("""
        CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$;
        CREATE TRIGGER away BEFORE INSERT ON metrics FOR EACH ROW EXECUTE FUNCTION away()
    """)
    done = baton_migrate(options.root, target)
    assert (done.returncode, "Traceback" in done.stderr) == (4, False), done.stderr
    assert "run the same command again" in done.stderr
    target.query("DROP FUNCTION away() CASCADE")
    assert baton_migrate(options.root, target).returncode == 0


def test_tables_of_an_older_mlflow_are_said_in_a_sentence(options: Options, target: Database) -> None:
    run(experiment(options.root, "1", "own"), HERE)
    target.query("ALTER TABLE registered_model_aliases DROP COLUMN workspace CASCADE")
    target.query("UPDATE alembic_version SET version_num = '0584bdc529eb'")
    done = baton_migrate(options.root, target, "--artifacts", str(target.artifacts))
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "mlflow db upgrade" in done.stderr


def test_ctrl_c_is_one_sentence_and_the_same_command_goes_on(options: Options, target: Database) -> None:
    own = experiment(options.root, "1", "own")
    for number in range(100):
        run(own, f"{number:032x}")
    version(model(options.root, "heart"), 1, own / f"{1:032x}", current_stage="Production")
    target.query(f"""
        CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_advisory_xact_lock({GATE}); RETURN NEW; END $$;
        CREATE TRIGGER hold BEFORE INSERT ON runs FOR EACH ROW WHEN (NEW.run_uuid = '{1:032x}') EXECUTE FUNCTION hold()
    """)
    command = [BATON, "migrate", str(options.root), "--to", target.url, "--no-backup", "--verify", "off"]
    with closing(psycopg2.connect(target.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (GATE,))
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        try:
            wait_for("a batch that is held", lambda: bool(target.query(HELD)) or process.poll() is not None, 120)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
            cursor.execute("SELECT pg_advisory_unlock(%s)", (GATE,))
            said = process.communicate(timeout=60)[1]
        finally:
            process.kill()
            process.wait()
    assert process.returncode == output.FAILED, said
    assert "stopped before it was done: run the same command again" in said
    assert "Traceback" not in said
    assert target.query("SELECT count(*) FROM registered_models") == [(0,)]
    target.query("DROP FUNCTION hold() CASCADE")
    report = migrated(options)
    assert (report.is_whole, report.in_target["run"], report.champions) == (True, 100, {"heart": 1})
