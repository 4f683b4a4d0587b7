"""A store that is migrated more than once: in parts, repaired or added to in between, or another store at its path."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cli.migrate.artifacts import ArtifactStore
from cli.migrate.bounds import Bounds
from cli.migrate.findings import Action
from cli.migrate.job import migrate
from cli.migrate.options import Options, Verify
from cli.migrate.progress import meter
from cli.migrate.report import Report
from tests.integration.filestores import Database, fresh, template
from tests.integration.raw_filestore import experiment, run, value, write_meta

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # MLflow's SQL store warns of itself
    pytest.mark.timeout(300),
]
HERE, THERE = "a" * 32, "b" * 32


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


def logged_model(folder: Path, name: str, run_id: str, points: str) -> Path:
    meta = {"name": "model", "status": 2, "creation_timestamp": 1, "last_updated_timestamp": 2, "source_run_id": run_id}
    path = folder / "models" / name
    write_meta(path, {**meta, "model_id": name, "experiment_id": folder.name, "lifecycle_stage": "active"})
    value(path, "metrics/loss", points)
    return path


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
