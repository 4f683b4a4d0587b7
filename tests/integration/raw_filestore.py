"""FileStores written by hand: layouts of older MLflow lines, and damage that MLflow's client cannot do."""

import uuid
from pathlib import Path

import yaml


def experiment(root: Path, number: str, name: str, **meta: object) -> Path:
    folder = root / number
    folder.mkdir(parents=True)
    content = {
        "artifact_location": f"file:///old/mlruns/{number}",
        "creation_time": 1_600_000_000_000,
        "experiment_id": number,
        "last_update_time": 1_600_000_000_000,
        "lifecycle_stage": "active",
        "name": name,
    }
    write_meta(folder, {**content, **meta})
    return folder


def write_meta(folder: Path, content: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "meta.yaml").write_text(yaml.safe_dump(content, default_flow_style=False))


def run(folder: Path, run_id: str | None = None, **meta: object) -> Path:
    """Write a finished run as MLflow 2 and 3 do, with one param, one tag, one metric and one artifact."""
    run_id = run_id or uuid.uuid4().hex
    path = folder / run_id
    content = {
        "artifact_uri": f"file:///old/mlruns/{folder.name}/{run_id}/artifacts",
        "end_time": 1_600_000_002_000,
        "entry_point_name": "",
        "experiment_id": folder.name,
        "lifecycle_stage": "active",
        "run_id": run_id,
        "run_name": "the name",
        "run_uuid": run_id,
        "source_name": "",
        "source_type": 4,
        "source_version": "",
        "start_time": 1_600_000_001_000,
        "status": 3,
        "tags": [],
        "user_id": "ann",
    }
    write_meta(path, {**content, **meta})
    value(path, "params/p", "1")
    value(path, "tags/mlflow.runName", "the name")
    value(path, "tags/mlflow.user", "ann")
    value(path, "metrics/m", "1600000001500 0.5 0\n1600000001600 0.75 1\n")
    value(path, "artifacts/note.txt", f"artifact of {run_id}")
    return path


def old_run(folder: Path, run_id: str) -> Path:
    """Write a run as MLflow 0.9 and 1.0 did: no run_id, no lifecycle, an integer experiment, metrics without steps."""
    path = folder / run_id
    content = {
        "artifact_uri": f"./mlruns/{folder.name}/{run_id}/artifacts",
        "end_time": 1_540_000_002_000,
        "entry_point_name": "main",
        "experiment_id": int(folder.name),
        "name": "old name",
        "run_uuid": run_id,
        "source_name": "train.py",
        "source_type": 3,
        "source_version": "abc",
        "start_time": 1_540_000_001_000,
        "status": 4,
        "tags": [],
        "user_id": "bob",
    }
    write_meta(path, content)
    value(path, "params/p", "1")
    value(path, "metrics/m", "1540000001 0.5\n1540000002 0.25\n")
    value(path, "artifacts/model/MLmodel", "flavors: {}\n")
    return path


def dataset(folder: Path, name: str, *runs: Path) -> Path:
    """Write a data set of an experiment that runs took as an input, as MLflow 2 and 3 do."""
    path = folder / "datasets" / f"{name}-id"
    content = {"name": name, "digest": f"{name}-digest", "source_type": "code", "source": f"{name}.csv"}
    write_meta(path, {**content, "schema": '{"columns": 2}', "profile": '{"rows": 3}'})
    for taker in runs:
        take(taker, "DATASET", path.name, {"mlflow.data.context": "training"})
    return path


def take(run_folder: Path, kind: str, source: str, tags: dict[str, str]) -> None:
    """Write an input of a run."""
    write_meta(run_folder / "inputs" / f"{source}-input", {"source_type": kind, "source_id": source, "tags": tags})


def logged_model(folder: Path, name: str, run_id: str, points: str) -> Path:
    """Write a logged model that a run made, with one metric."""
    meta = {"name": "model", "status": 2, "creation_timestamp": 1, "last_updated_timestamp": 2, "source_run_id": run_id}
    path = folder / "models" / name
    write_meta(path, {**meta, "model_id": name, "experiment_id": folder.name, "lifecycle_stage": "active"})
    value(path, "metrics/loss", points)
    return path


def value(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def model(root: Path, name: str, **aliases: int) -> Path:
    folder = root / "models" / name
    write_meta(folder, {"creation_timestamp": 1, "description": None, "last_updated_timestamp": 2, "name": name})
    for alias, number in aliases.items():
        value(folder, f"aliases/{alias}", str(number))
    return folder


def version(folder: Path, number: int, run_folder: Path, **meta: object) -> Path:
    """Write a version whose source lies in a run, as MLflow 2 did."""
    path = folder / f"version-{number}"
    source = f"file:///old/mlruns/{run_folder.parent.name}/{run_folder.name}/artifacts/model"
    content = {
        "creation_timestamp": 10 + number,
        "current_stage": "None",
        "description": None,
        "last_updated_timestamp": 20,
        "name": folder.name,
        "run_id": run_folder.name,
        "run_link": None,
        "source": source,
        "status": "READY",
        "status_message": None,
        "storage_location": source,
        "user_id": None,
        "version": number,
    }
    write_meta(path, {**content, **meta})
    return path
