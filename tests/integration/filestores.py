"""FileStores made by MLflow itself, databases to migrate them into, and what MLflow's client says of both."""

import hashlib
import os
import subprocess
import sys
import uuid
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import mlflow
import psycopg2
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run, ViewType

from cli.migrate.artifacts import PARTIAL
from shared.settings import sqlalchemy_url

BATON = str(Path(sys.executable).parent / "baton")
LARGEST = 1.7976931348623157e308
MAKE_STORE = Path(__file__).with_name("make_filestore.py")


def make_store(root: Path, runs: int) -> Path:
    """Have MLflow's client write a FileStore with three experiments and three registered models; return its root."""
    command = [sys.executable, str(MAKE_STORE), str(root), str(runs)]
    environment = {**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=300)
    return root


@dataclass(frozen=True)
class Database:
    """A database with MLflow's tables and nothing else, and the folder of its artifacts."""

    url: str
    artifacts: Path

    @property
    def client(self) -> MlflowClient:
        uri = sqlalchemy_url(self.url)
        return MlflowClient(uri, uri)

    def query(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(text, values)
            return list(cursor.fetchall()) if cursor.description else []


def template(server: str, folder: Path) -> str:
    """Return the name of a database with MLflow's tables; made once per server, for it takes half a minute."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    name = f"template_{mlflow.__version__.replace('.', '_')}"
    with closing(psycopg2.connect(server)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
        if cursor.fetchone():
            return name
    administer(server, f"CREATE DATABASE {name}_draft")
    store = SqlAlchemyStore(sqlalchemy_url(at(server, f"{name}_draft")), str(folder))
    store.engine.dispose()
    administer(server, f"ALTER DATABASE {name}_draft RENAME TO {name}")
    return name


@contextmanager
def fresh(server: str, template_name: str, artifacts: Path) -> Iterator[Database]:
    """Yield a new database whose artifacts go into a folder."""
    name = f"migrated_{uuid.uuid4().hex}"
    administer(server, f"CREATE DATABASE {name} TEMPLATE {template_name}")
    database = Database(at(server, name), artifacts)
    database.query("UPDATE experiments SET artifact_location = %s", f"{artifacts}/0")
    yield database
    administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def at(server: str, name: str) -> str:
    return f"{server.rpartition('/')[0]}/{name}"


def administer(server: str, statement: str) -> None:
    with closing(psycopg2.connect(server)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)


def baton_migrate(
    source: Path, database: Database, *words: str, verify: str = "off"
) -> subprocess.CompletedProcess[str]:
    """Run the verb as users do; reading back through MLflow costs its import, so only where it is looked at."""
    command = [BATON, "migrate", str(source), "--to", database.url, "--no-backup", "--verify", verify, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@contextmanager
def file_client(root: Path, monkeypatch: Any) -> Iterator[MlflowClient]:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield MlflowClient(root.as_uri(), root.as_uri())


def everything(client: MlflowClient) -> dict[str, Any]:
    """Return all that MLflow's public client says of a store, without what a migration changes: ids and places."""
    experiments = client.search_experiments(view_type=ViewType.ALL)
    names = {experiment.experiment_id: experiment.name for experiment in experiments}
    runs = client.search_runs(list(names), run_view_type=ViewType.ALL, max_results=10_000)
    models = [model for number in names for model in client.search_logged_models([number])]
    return {
        "experiments": {
            e.name: (e.lifecycle_stage, e.creation_time, e.last_update_time, e.tags)
            for e in experiments
            if e.name != "Default"
        },
        "runs": {run.info.run_id: _run(client, run, names) for run in runs},
        "logged models": {model.model_id: _logged_model(model, names) for model in models},
        "registry": _registry(client),
    }


def _run(client: MlflowClient, run: Run, names: dict[str, str]) -> dict[str, Any]:
    info = run.info
    return {
        "experiment": names[info.experiment_id],
        "info": (info.run_name, info.user_id, info.status, info.start_time, info.end_time, info.lifecycle_stage),
        "params": run.data.params,
        "tags": run.data.tags,
        "metrics": {key: _number(value) for key, value in run.data.metrics.items()},
        "history": {
            key: sorted({(m.timestamp, _number(m.value), m.step) for m in client.get_metric_history(info.run_id, key)})
            for key in run.data.metrics
        },
        "data sets": sorted(
            (i.dataset.name, i.dataset.digest, i.dataset.source, i.dataset.schema, i.dataset.profile, tags_of(i))
            for i in (run.inputs.dataset_inputs if run.inputs else [])
        ),
        "outputs": sorted((o.model_id, o.step) for o in run.outputs.model_outputs) if run.outputs else [],
        "artifacts": digests(str(info.artifact_uri)),
    }


def digests(uri: str) -> dict[str, str]:
    """Return the SHA-256 of each artifact below a place of this machine, by its path."""
    folder = Path(unquote(urlsplit(uri).path))
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(PARTIAL)]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def files_of(client: MlflowClient, source: str) -> str:
    """Return where the files of a version are: `models:/ID` names a logged model."""
    if source.startswith("models:/"):
        return str(client.get_logged_model(source.removeprefix("models:/")).artifact_location)
    return source


def tags_of(item: Any) -> list[tuple[str, str]]:
    return sorted((tag.key, tag.value) for tag in item.tags)


def _number(value: float) -> float | str:
    """Return a metric's value as both stores mean it: SQL keeps infinity as the largest float."""
    if value != value:  # noqa: PLR0124
        return "nan"
    return max(-LARGEST, min(LARGEST, value))


def _logged_model(model: LoggedModel, names: dict[str, str]) -> dict[str, Any]:
    return {
        "experiment": names[model.experiment_id],
        "info": (model.name, model.status, model.model_type, model.source_run_id, model.creation_timestamp),
        "updated": model.last_updated_timestamp,
        "params": model.params,
        "tags": model.tags,
        "metrics": sorted(
            (m.key, _number(m.value) if m.value == m.value else 0.0, m.step) for m in model.metrics or []
        ),
        "artifacts": digests(model.artifact_location),
    }


def _registry(client: MlflowClient) -> dict[str, Any]:
    return {
        model.name: {
            "info": (model.description, model.creation_timestamp, model.last_updated_timestamp, model.tags),
            "aliases": {alias: str(version) for alias, version in model.aliases.items()},
            "versions": {
                str(v.version): {
                    "info": (
                        v.description,
                        v.user_id,
                        v.current_stage,
                        v.run_id,
                        v.run_link,
                        v.status,
                        v.status_message,
                    ),
                    "times": (v.creation_timestamp, v.last_updated_timestamp),
                    "tags": v.tags,
                    "files": digests(files_of(client, str(v.source))),
                }
                for v in client.search_model_versions(f"name = '{model.name}'")
            },
        }
        for model in client.search_registered_models()
    }
