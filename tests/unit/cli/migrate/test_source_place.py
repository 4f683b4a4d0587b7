"""Where artifacts are found: where their URI says, in the store's own folders if it was moved."""

from pathlib import Path

import pytest

from cli.migrate.findings import Findings
from cli.migrate.source_place import SourcePlace, place_of_model, place_of_run

RUN = "a" * 32


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "mlruns" / "1" / RUN / "artifacts").mkdir(parents=True)  # as MLflow does, wherever artifacts go
    return tmp_path / "mlruns"


def fill(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "note.txt").write_text("x")
    return folder


def run(root: Path, uri: str | None, location: str | None = None) -> SourcePlace:
    return place_of_run(root, root / "1" / RUN, RUN, uri, location)


def found(origin: SourcePlace) -> tuple[Path, list[str]]:
    findings = Findings()
    folder = origin.artifacts(findings)
    return folder, [finding.reason for finding in findings.items]


@pytest.mark.parametrize("name", ["nas/a", "mlruns copy/1"])
def test_another_place_that_the_uri_names_comes_before_the_empty_folder(name: str, root: Path, tmp_path: Path) -> None:
    place = fill(tmp_path / name / RUN / "artifacts")
    for origin in (run(root, place.as_uri()), run(root, str(place)), run(root, None, str(tmp_path / name))):
        assert found(origin) == (place, [])


def test_a_relative_place_counts_from_the_folder_that_the_store_lies_in(root: Path, tmp_path: Path) -> None:
    place = fill(tmp_path / "elsewhere" / RUN / "artifacts")
    assert found(run(root, f"./elsewhere/{RUN}/artifacts")) == (place, [])


def test_of_a_store_that_was_moved_its_own_folders_count(root: Path, tmp_path: Path) -> None:
    uri = f"file:///old/mlruns/1/{RUN}/artifacts"
    own = root / "1" / RUN / "artifacts"
    assert found(run(root, uri)) == (own, [])  # a run without artifacts
    fill(own)
    assert found(run(root, uri)) == (own, [])
    old = fill(tmp_path / "old" / "1" / RUN / "artifacts")
    (old.parent / "meta.yaml").write_text("")  # the store was copied, and what it was copied from is still there
    assert found(run(root, old.as_uri())) == (own, [])


def test_what_lies_in_both_places_is_told(root: Path, tmp_path: Path) -> None:
    fill(root / "1" / RUN / "artifacts")
    place = fill(tmp_path / "nas" / RUN / "artifacts")
    folder, (reason,) = found(run(root, place.as_uri()))
    assert folder == place
    assert "stays behind" in reason


@pytest.mark.parametrize("location", ["/nowhere/a", "/nowhere/1", "file:///nowhere/a", "mlflow-artifacts:/1"])
def test_a_place_that_is_gone_is_told(location: str, root: Path) -> None:
    for origin in (run(root, f"{location}/{RUN}/artifacts"), run(root, None, location)):
        _, (reason,) = found(origin)
        assert "is not there or empty" in reason
    (root / "1" / "models" / "m-1" / "artifacts").mkdir(parents=True)
    _, (reason,) = found(place_of_model(root, root / "1" / "models" / "m-1", "m-1", None, location))
    assert "is not there or empty" in reason


def test_a_run_without_artifacts_in_a_place_that_is_there_is_no_fault(root: Path, tmp_path: Path) -> None:
    fill(tmp_path / "nas" / "b" / "artifacts")
    assert found(run(root, f"{tmp_path}/nas/{RUN}/artifacts"))[1] == []
    fill(tmp_path / "mlartifacts" / "1" / "b" / "artifacts")
    assert found(run(root, f"mlflow-artifacts:/1/{RUN}/artifacts"))[1] == []


@pytest.mark.parametrize("host", ["/", "//127.0.0.1:5000/", "///"])
def test_what_went_through_the_server_lies_beside_the_store(host: str, root: Path, tmp_path: Path) -> None:
    place = fill(tmp_path / "mlartifacts" / "1" / RUN / "artifacts")
    assert found(run(root, f"mlflow-artifacts:{host}1/{RUN}/artifacts")) == (place, [])
    assert found(run(root, None, f"mlflow-artifacts:{host}1")) == (place, [])


def test_a_run_that_says_nothing_has_its_artifacts_where_its_experiment_says(root: Path) -> None:
    assert run(root, None, "s3://bucket/1").remote == f"s3://bucket/1/{RUN}/artifacts"
    assert place_of_model(root, root / "1" / "models" / "m-1", "m-1", None, "s3://b/1/").remote == (
        "s3://b/1/models/m-1/artifacts"
    )
    assert run(root, None).remote is None
    assert found(run(root, None))[1] == []
