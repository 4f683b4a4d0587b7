"""What a verification compares: each thing that the target may have lost or changed is found, and named."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cli.migrate.artifacts import ArtifactStore
from cli.migrate.job import migrate, verify_alone
from cli.migrate.options import Options, Verify
from cli.migrate.progress import meter
from cli.migrate.report import Report
from tests.integration.filestores import Database, everything, fresh, template
from tests.integration.raw_filestore import dataset, experiment, logged_model, model, run, take, value, version

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # MLflow's SQL store warns of itself
    pytest.mark.timeout(300),
]
RUN = "a" * 32
CHANGES = [
    ("data set", "datasets", "dataset_source_type", "other"),
    ("data set", "datasets", "dataset_source", "other"),
    ("data set", "datasets", "dataset_schema", "other"),
    ("data set", "datasets", "dataset_profile", "other"),
    ("model input", "inputs", "destination_id", "m-9"),
    ("logged model's point", "logged_model_metrics", "metric_value", 9.0),
    ("logged model's point", "logged_model_metrics", "dataset_name", "other"),
    ("model version", "model_versions", "source", "/other"),
    ("model version", "model_versions", "storage_location", "/other"),
    ("model version", "model_versions", "status", "FAILED_REGISTRATION"),
    ("model version", "model_versions", "status_message", "other"),
]


@pytest.fixture
def target(database_url: str, tmp_path: Path) -> Iterator[Database]:
    name = template(database_url, tmp_path / "nothing")
    with fresh(database_url, name, tmp_path / "artifacts") as database:
        yield database


@pytest.fixture
def options(tmp_path: Path, target: Database) -> Options:
    store = ArtifactStore(str(target.artifacts), target.artifacts)
    return Options(tmp_path / "mlruns", target.url, store, processes=1, verify=Verify.FULL)


def migrated(options: Options) -> Report:
    report = Report(options.source, options.url)
    with meter() as shown:
        migrate(options, report, shown)
    return report


def different(options: Options) -> set[str]:
    """Return the kinds in which source and target differ."""
    report = Report(options.source, options.url)
    with meter() as shown:
        verify_alone(options, report, shown)
    return {kind for kind, tally in report.verification["kinds"].items() if not tally["equal"]}


def small_store(root: Path) -> Path:
    """Write a store with one thing of each kind."""
    folder = experiment(root, "1", "own")
    taker = run(folder, RUN)
    dataset(folder, "rows", taker)
    take(taker, "MODEL", "m-1", {})
    logged_model(folder, "m-1", RUN, f"1 0.5 0 {RUN} rows rows-digest\n")
    version(model(root, "heart"), 1, taker)
    return root


def test_each_thing_that_changed_is_found(options: Options, target: Database) -> None:
    small_store(options.root)
    assert migrated(options).is_whole
    for kind, table, column, other in CHANGES:
        where = "source_type = 'RUN_INPUT'" if table == "inputs" else "true"
        [(before,)] = target.query(f"SELECT {column} FROM {table} WHERE {where}")
        target.query(f"UPDATE {table} SET {column} = %s WHERE {where}", other)
        assert different(options) == {kind}, (table, column)
        target.query(f"UPDATE {table} SET {column} = %s WHERE {where}", before)
    assert different(options) == set()
    target.query("DELETE FROM logged_model_metrics")
    target.query("DELETE FROM inputs WHERE source_type = 'RUN_INPUT'")
    assert different(options) == {"model input", "logged model's point"}


def test_files_that_belong_to_a_version_alone_are_compared(options: Options, target: Database) -> None:
    value(options.root.parent / "loose", "MLmodel", "flavors: {}\n")
    own = run(experiment(options.root, "1", "own"), RUN)
    version(model(options.root, "heart"), 1, own, source=str(options.root.parent / "loose"), storage_location=None)
    assert migrated(options).is_whole
    assert different(options) == set()
    (target.artifacts / "models" / "heart" / "1" / "MLmodel").write_text("other")
    assert different(options) == {"artifact folder"}


def test_data_sets_of_two_stores_are_two(options: Options, target: Database) -> None:
    other = replace(options, root=options.root.parent / "other" / "mlruns")
    for root, name, key in ((options.root, "one", RUN), (other.root, "two", "b" * 32)):
        folder = experiment(root, "1", name)
        made = dataset(folder, name, run(folder, key))
        made.rename(made.with_name("same"))
        take(folder / key, "DATASET", "same", {})
    for own in (options, other):
        report = migrated(own)
        assert report.is_verified, report.verification["differences"]
    runs = everything(target.client)["runs"]
    assert [[item[0] for item in runs[key]["data sets"]] for key in (RUN, "b" * 32)] == [["one"], ["two"]]
    assert different(options) == set()


def test_a_data_set_of_the_target_s_own_stands_and_is_named(options: Options, target: Database) -> None:
    folder = experiment(options.root, "0", "Default")
    dataset(folder, "rows", run(folder, RUN))
    target.query(
        "INSERT INTO datasets (dataset_uuid, experiment_id, name, digest, dataset_source_type, dataset_source) "
        "VALUES ('theirs', 0, 'rows', 'rows-digest', 'http', 'theirs')"
    )
    report = migrated(options)
    assert report.is_whole, report.verification["differences"]
    [noted] = report.findings
    assert (noted.path, noted.action, "stands" in noted.reason) == ("0/datasets/rows-id", "noted", True)
    assert target.query("SELECT dataset_source FROM datasets") == [("theirs",)]
