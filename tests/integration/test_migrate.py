"""`baton migrate`: FileStores that MLflow wrote, moved into PostgreSQL and read back through MLflow's client."""

import json
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest

from tests.integration.filestores import (
    Database,
    baton_migrate,
    everything,
    file_client,
    fresh,
    make_store,
    template,
)

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's SQL store and stages warn of themselves


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("source") / "mlruns", runs=67)


@pytest.fixture(scope="module")
def template_name(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return template(database_url, tmp_path_factory.mktemp("nothing"))


@pytest.fixture
def target(database_url: str, template_name: str, tmp_path: Path) -> Iterator[Database]:
    with fresh(database_url, template_name, tmp_path / "artifacts") as database:
        yield database


def test_every_field_is_equal_through_mlflow_s_client(
    store: Path, target: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = baton_migrate(store, target, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["in_target"] == {"experiment": 5, "run": 207, "logged model": 6, "registered model": 3}
    with file_client(store, monkeypatch) as old:
        before = everything(old)
    after = everything(target.client)
    assert after["registry"]["model alpha"]["aliases"].pop("champion") == "1"  # it was in Production
    assert after == before


def test_a_migrated_model_loads_and_predicts(store: Path, target: Database) -> None:
    assert baton_migrate(store, target).returncode == 0
    version = target.client.get_model_version_by_alias("model alpha", "champion")
    model = target.client.get_logged_model(str(version.source).removeprefix("models:/"))
    assert model.artifact_location.startswith(str(target.artifacts))
    loaded = mlflow.pyfunc.load_model(model.artifact_location)
    assert loaded.predict(np.array([[0.0], [3.0]])).tolist() == [0, 1]


def test_a_second_migration_changes_nothing(store: Path, target: Database) -> None:
    assert baton_migrate(store, target).returncode == 0
    before = everything(target.client)
    again = json.loads(baton_migrate(store, target, "--json").stdout)
    assert again["written"].get("run", 0) == 0
    assert everything(target.client) == before


def test_new_experiments_and_versions_get_numbers_that_are_free(store: Path, target: Database) -> None:
    assert baton_migrate(store, target).returncode == 0
    number = target.client.create_experiment("after the migration")
    assert int(number) > 0
    run = target.client.create_run(number)
    made = target.client.create_model_version("model beta", run.info.artifact_uri, run.info.run_id)
    assert str(made.version) == "3"
