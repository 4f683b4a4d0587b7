"""`baton migrate`: FileStores that MLflow wrote, moved into PostgreSQL and read back through MLflow's client."""

import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from tests.integration.filestores import (
    BATON,
    Database,
    baton_migrate,
    everything,
    file_client,
    fresh,
    make_store,
    template,
)
from tests.integration.raw_filestore import experiment, model, old_run, run, value, version

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # MLflow's SQL store and stages warn of themselves
    pytest.mark.timeout(600),
]
OLD_STORES = sorted((Path(__file__).parent / "old_stores").glob("*.tar.gz"))


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
    done = baton_migrate(store, target, "--json", verify="full")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["in_target"] == {"experiment": 5, "run": 207, "logged model": 6, "registered model": 3}
    with file_client(store, monkeypatch) as old:
        before = everything(old)
    after = everything(target.client)
    assert sum(bool(run["artifacts"]) for run in after["runs"].values()) >= 20
    assert all(version["files"] for model in after["registry"].values() for version in model["versions"].values())
    assert after["registry"]["model alpha"]["aliases"].pop("champion") == "1"  # it was in Production
    assert after == before


@pytest.mark.parametrize("archive", OLD_STORES, ids=lambda path: path.name.removesuffix(".tar.gz"))
def test_every_field_of_a_store_that_an_older_mlflow_wrote_is_equal(
    archive: Path, tmp_path: Path, target: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    root = tmp_path / "mlruns"
    for meta in root.rglob("meta.yaml"):  # the client looks for artifacts where they were when the store was written
        meta.write_text(meta.read_text().replace("file:///old/mlruns", root.as_uri()))
    done = baton_migrate(root, target, "--json", verify="full")
    assert done.returncode == 0, done.stdout + done.stderr
    with file_client(root, monkeypatch) as old:
        before = everything(old)
    after = everything(target.client)
    assert len(after["runs"]) == 8
    for registered in after["registry"].values():
        assert registered["aliases"].pop("champion") == "1"
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


def test_layouts_of_older_lines(tmp_path: Path, target: Database) -> None:
    root = tmp_path / "mlruns"
    folder = experiment(root, "3", "of 2018")
    old = old_run(folder, "c" * 32)
    (folder / "meta.yaml").write_text("artifact_location: ./mlruns/3\nexperiment_id: 3\nname: of 2018\n")
    newer = run(experiment(root, "4", "of 2022"), "d" * 32)
    registered = model(root, "classic")
    version(registered, 1, old, current_stage="Production", version="1")
    version(registered, 2, newer, current_stage="Staging")
    value(newer, "artifacts/model/MLmodel", "flavors: {}\n")
    done = baton_migrate(root, target, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = target.client.get_run("c" * 32)
    info = (found.info.run_name, found.info.user_id, found.info.status, found.info.start_time)
    assert info == ("old name", "bob", "FAILED", 1_540_000_001_000)
    history = target.client.get_metric_history("c" * 32, "m")
    assert [(m.value, m.timestamp, m.step) for m in history] == [(0.5, 1540000001, 0), (0.25, 1540000002, 0)]
    champion = target.client.get_model_version_by_alias("classic", "champion")
    assert champion.source == f"{found.info.artifact_uri}/model"
    assert (Path(str(champion.source)) / "MLmodel").read_text() == "flavors: {}\n"


def elsewhere(folder: Path, run_id: str, place: Path, **meta: object) -> Path:
    """Write a run whose artifacts lie in another place, as MLflow does: its own folder is there and empty."""
    made = run(folder, run_id, **meta)
    (place / run_id).mkdir(parents=True)
    (made / "artifacts").rename(place / run_id / "artifacts")
    (made / "artifacts").mkdir()
    return made


def test_artifacts_that_lie_beside_the_store_are_copied(tmp_path: Path, target: Database) -> None:
    root, nas = tmp_path / "mlruns", tmp_path / "nas" / "artifacts"
    first = experiment(root, "1", "elsewhere", artifact_location=f"{nas.as_uri()}/1")
    own = elsewhere(first, "a" * 32, nas / "1", artifact_uri=f"{nas.as_uri()}/1/{'a' * 32}/artifacts")
    (elsewhere(first, "b" * 32, nas / "1") / "meta.yaml").write_text("")
    second = experiment(root, "2", "through a server", artifact_location="mlflow-artifacts:/2")
    uri = f"mlflow-artifacts:/2/{'c' * 32}/artifacts"
    elsewhere(second, "c" * 32, tmp_path / "mlartifacts" / "2", artifact_uri=uri)
    third = experiment(root, "3", "gone", artifact_location="file:///nowhere/3")
    for key in "de":
        elsewhere(third, key * 32, tmp_path / "lost", artifact_uri=f"file:///nowhere/3/{key * 32}/artifacts")
    value(experiment(root, "4", "remote", artifact_location="s3://bucket/4") / ("f" * 32), "meta.yaml", "")
    version(model(root, "m"), 1, own, source=f"{nas}/1/{own.name}/artifacts/note.txt")
    rehearsal = json.loads(baton_migrate(root, target, "--dry-run", "--json").stdout)
    done = baton_migrate(root, target, "--json", verify="full")
    assert done.returncode == 5, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["verification"]["differences"] == []
    for found in (rehearsal, report):
        lost = [(item["path"], item["reason"]) for item in found["findings"] if item["action"] == "quarantined"]
        assert [(path, "/nowhere/3, which is not there" in reason) for path, reason in lost] == [("3", True)]
    assert rehearsal["to_write"]["artifact file"] == report["written"]["artifact file"] == 3
    uris = {key: str(target.client.get_run(key * 32).info.artifact_uri) for key in "abcf"}
    notes = {key: (Path(uris[key]) / "note.txt").read_text() for key in "abc"}
    assert notes == {key: f"artifact of {key * 32}" for key in "abc"}
    assert uris["f"] == f"s3://bucket/4/{'f' * 32}/artifacts"
    assert target.client.get_model_version("m", "1").source == f"{uris['a']}/note.txt"


@pytest.fixture
def used(tmp_path: Path, target: Database) -> Path:
    """Put an experiment and a model into the target whose names the source has too; return the source."""
    root = tmp_path / "mlruns"
    own = run(experiment(root, "7", "clash"))
    run(experiment(root, "8", "other"), "e" * 32)
    version(model(root, "clash"), 1, own, current_stage="Production")
    theirs = target.client.create_experiment("clash", tags={"theirs": "yes"})
    made = target.client.create_run(theirs, run_name="theirs")
    target.client.create_registered_model("clash", description="theirs")
    target.client.create_model_version("clash", made.info.artifact_uri, made.info.run_id)
    return root


def theirs(target: Database) -> dict[str, Any]:
    """Return what was in the target before."""
    found = everything(target.client)
    return {
        "experiment": found["experiments"]["clash"],
        "runs": [run for run in found["runs"].values() if run["info"][0] == "theirs"],
        "model": found["registry"]["clash"],
    }


def test_names_that_clash_stop_a_migration_before_it_writes(used: Path, target: Database) -> None:
    before = everything(target.client)
    done = baton_migrate(used, target)
    assert done.returncode == 1
    assert "experiment 'clash', model 'clash' already" in done.stderr
    assert everything(target.client) == before


def test_names_that_clash_are_skipped(used: Path, target: Database) -> None:
    before = theirs(target)
    done = baton_migrate(used, target, "--on-conflict", "skip", "--json")
    assert done.returncode == 5
    report = json.loads(done.stdout)
    assert (report["in_target"]["run"], report["in_target"]["registered model"]) == (1, 0)
    assert theirs(target) == before


def test_names_that_clash_are_renamed_and_a_second_attempt_keeps_the_names(used: Path, target: Database) -> None:
    before = theirs(target)
    for _ in range(2):
        done = baton_migrate(used, target, "--on-conflict", "rename", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["in_target"]["run"] == 2
        assert theirs(target) == before
        client = target.client
        assert client.get_experiment_by_name("clash-migrated") is not None
        assert str(client.get_model_version_by_alias("clash-migrated", "champion").version) == "1"
    names = [found.name for found in target.client.search_experiments()]
    assert sorted(names) == ["Default", "clash", "clash-migrated", "other"]


def test_a_run_that_the_target_has_of_its_own_is_not_touched(tmp_path: Path, target: Database) -> None:
    root = tmp_path / "mlruns"
    own = run(experiment(root, "7", "x"))
    number = target.client.create_experiment("y")
    target.query("INSERT INTO runs (run_uuid, experiment_id, name) VALUES (%s, %s, 'theirs')", own.name, number)
    done = baton_migrate(root, target, "--json")
    assert done.returncode == 5
    assert "of its own" in json.loads(done.stdout)["findings"][0]["reason"]
    assert target.query("SELECT name FROM runs WHERE run_uuid = %s", own.name) == [("theirs",)]


def test_a_rehearsal_changes_nothing_and_names_every_problem(used: Path, target: Database) -> None:
    value(used / "8" / ("e" * 32), "metrics/m", "half a li")
    before = target.query("SELECT count(*) FROM pg_tables")
    done = baton_migrate(used, target, "--dry-run", "--on-conflict", "rename", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 5
    assert {finding["action"] for finding in report["findings"]} == {"quarantined", "noted"}
    assert target.query("SELECT count(*) FROM pg_tables") == before
    assert not target.artifacts.exists()


def test_only_one_experiment_and_only_later_runs(tmp_path: Path, target: Database) -> None:
    root = tmp_path / "mlruns"
    early = run(experiment(root, "1", "one"), "a" * 32)
    late = run(root / "1", "b" * 32, start_time=1_700_000_000_000)
    run(experiment(root, "2", "two"))
    version(model(root, "of one"), 1, late)
    version(model(root, "of both"), 1, early)
    done = baton_migrate(root, target, "--only", "one", "--since", "2023-01-01", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert target.query("SELECT run_uuid FROM runs") == [("b" * 32,)]
    assert [found.name for found in target.client.search_registered_models()] == ["of one"]
    whole = json.loads(baton_migrate(root, target, "--json").stdout)
    assert whole["in_target"] == {"experiment": 2, "run": 3, "logged model": 0, "registered model": 2}


def test_a_backup_is_checked_and_kept(tmp_path: Path, target: Database) -> None:
    run(experiment(tmp_path / "mlruns", "1", "one"))
    command = [BATON, "migrate", str(tmp_path / "mlruns"), "--to", target.url, "--backup-dir", str(tmp_path), "--json"]
    command += ["--verify", "off"]

    def migrate() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)

    first = json.loads(migrate().stdout)
    with tarfile.open(first["backup"]) as archive:
        assert "mlruns/1/meta.yaml" in archive.getnames()
    assert json.loads(migrate().stdout)["backup_digest"] == first["backup_digest"]
    Path(first["backup"]).write_bytes(b"damaged")
    again = migrate()
    assert again.returncode == 1
    assert "is damaged" in again.stderr


def test_a_verification_finds_what_was_changed_since(store: Path, target: Database) -> None:
    assert baton_migrate(store, target).returncode == 0
    target.query("UPDATE params SET value = 'other' WHERE key = 'depth' AND value = '5'")
    target.query("DELETE FROM metrics WHERE key = 'endless'")
    note = next(target.artifacts.rglob("of run.txt"))
    note.write_text("other")
    command = [BATON, "migrate", "verify", str(store), "--to", target.url, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 1
    kinds = json.loads(done.stdout)["verification"]["kinds"]
    assert {kind for kind, tally in kinds.items() if not tally["equal"]} == {"param", "metric point", "artifact folder"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["/nowhere"], "is no folder"),
        ([".", "--to", "mysql://x/y"], "only PostgreSQL"),
        ([".", "--to", "postgresql://127.0.0.1:1/x"], "does not answer"),
    ],
)
def test_wrong_use_is_one_sentence(words: list[str], says: str, tmp_path: Path) -> None:
    run(experiment(tmp_path / "mlruns", "1", "one"))
    command = [BATON, "migrate", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode in {1, 4}
    assert says in done.stderr
    assert "Traceback" not in done.stderr
