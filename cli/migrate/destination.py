"""Where a migration goes: the running stack, or a database that the user names."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from cli import endpoints
from cli.migrate.artifacts import ArtifactStore, folder_of
from cli.migrate.target import TargetError, connect, default_location, is_initialised, transaction
from compose.local.state import read_state
from shared.settings import sqlalchemy_url

POSTGRESQL = ("postgresql://", "postgres://", "postgresql+psycopg2://")


def database(to: str | None, data_dir: Path) -> str:
    """Return the URL of the database to write to: named, or the running stack's, or MLFLOW_TRACKING_URI's."""
    if to is not None:
        if not to.startswith(POSTGRESQL):
            raise TargetError(f"{urlsplit(to).scheme or to}: only PostgreSQL can be written to (postgresql://...)")
        return to
    state = read_state(data_dir)
    named = os.environ.get("MLFLOW_TRACKING_URI", "")
    if state is None and named.startswith(POSTGRESQL):
        return named
    if state is None:
        raise TargetError(
            "no stack runs here: start one with `baton up`, or name a database with --to postgresql://..."
        )
    return state.urls["postgres"]


def artifact_store(
    url: str, to: str | None, artifacts: str | None, data_dir: Path, *, change: bool = True
) -> ArtifactStore:
    """Return where artifacts go: as MLflow's own experiment 0 says, or below `artifacts`, a folder or a URI.

    MLflow's tables are created if there are none, unless nothing may be changed.
    """
    connection = connect(url)
    try:
        with transaction(connection) as cursor:
            location = default_location(cursor) if is_initialised(cursor) else None
    finally:
        connection.close()
    if location is None:
        if artifacts is None:
            raise TargetError("the database is new: say with --artifacts FOLDER_OR_URI where artifacts are to be kept")
        if change:
            initialise(url, artifacts)
        location = f"{artifacts.rstrip('/')}/0"
    root = location.rstrip("/").removesuffix("/0")
    proxied = root.startswith("mlflow-artifacts:")
    if artifacts and not proxied:
        root = artifacts.rstrip("/")
    folder = folder_of(artifacts or root)
    if proxied and to is None:
        folder = folder or data_dir.expanduser().resolve() / "artifacts"
    return ArtifactStore(root, folder, endpoints.find(data_dir).mlflow)


def initialise(url: str, artifacts: str) -> None:
    """Create MLflow's tables in an empty database."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(sqlalchemy_url(url), artifacts)  # type: ignore[no-untyped-call]
