"""Where a migration goes: the running stack, or a database that the user names."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from cli import endpoints
from cli.migrate.artifacts import ArtifactStore, folder_of
from cli.migrate.target import TargetError, connect, default_location, is_initialised, is_outdated, transaction
from compose.local.state import read_state
from shared.settings import libpq_url, names_database, sqlalchemy_url


def database(to: str | None, data_dir: Path) -> str:
    """Return the URL of the database to write to: named with --to, in the environment, or the running stack's."""
    named, chosen = os.environ.get("MLFLOW_TRACKING_URI", ""), os.environ.get("BATON_DATABASE_URL")
    chosen = to or (named if names_database(named) else chosen)
    if chosen:
        if not names_database(chosen):
            raise TargetError(
                f"{urlsplit(chosen).scheme or chosen}: only PostgreSQL can be written to (postgresql://...)"
            )
        return chosen
    state = read_state(data_dir)
    if named and (state is None or not _same(named, state.urls["mlflow"])):
        raise TargetError(
            f"MLFLOW_TRACKING_URI names {named}, which is no stack that runs here: name its database with "
            "--to postgresql://..."
        )
    if state is None:
        raise TargetError(
            "no stack runs here: start one with `baton up`, or name a database with --to postgresql://..."
        )
    return state.urls["postgres"]


def _same(one: str, other: str) -> bool:
    """Tell whether two addresses on this machine are the same."""
    one, other = (url.rstrip("/").replace("://localhost", "://127.0.0.1") for url in (one, other))
    return one == other


def artifact_store(url: str, artifacts: str | None, data_dir: Path, *, change: bool = True) -> ArtifactStore:
    """Return where artifacts go: as MLflow's own experiment 0 says, or below `artifacts`, a folder or a URI.

    MLflow's tables are created if there are none, unless nothing may be changed.
    """
    connection = connect(url)
    try:
        with transaction(connection) as cursor:
            if is_outdated(cursor):
                raise TargetError(
                    "the database has the tables of an older MLflow: bring them up to date with "
                    "`mlflow db upgrade postgresql://...` first"
                )
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
    state = read_state(data_dir)
    if proxied and state is not None and libpq_url(url) == libpq_url(state.urls["postgres"]):
        folder = folder or data_dir.expanduser().resolve() / "artifacts"  # the running stack's server keeps them there
    return ArtifactStore(root, folder, endpoints.find(data_dir).mlflow)


def initialise(url: str, artifacts: str) -> None:
    """Create MLflow's tables in an empty database."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(sqlalchemy_url(url), artifacts)  # type: ignore[no-untyped-call]
