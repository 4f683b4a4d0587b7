"""Real servers for tests: PostgreSQL, nats-server and MLflow, each on a free port, stopped by its own handle.

A server that the environment names is used instead: `python -m tests.keep_servers` keeps some for hours of small runs.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from tests.servers import mlflow_server, nats_server, postgres_server


@pytest.fixture(scope="session")
def server_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(autouse=True)
def nobody_s_tracking_uri() -> Iterator[None]:
    """Forget the address that MLflow's client leaves in the environment: a stack of a later test would attach to it."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)


def kept(variable: str) -> AbstractContextManager[str] | None:
    """Return the address of a server that runs already, None if the environment names none."""
    address = os.environ.get(variable)
    return nullcontext(address) if address else None


@pytest.fixture(scope="session")
def nats_url(server_dir: Path) -> Iterator[str]:
    with kept("BATON_TEST_NATS_URL") or nats_server(server_dir) as url:
        yield url


@pytest.fixture(scope="session")
def database_url(server_dir: Path) -> Iterator[str]:
    with kept("BATON_TEST_DATABASE_URL") or postgres_server(server_dir) as url:
        yield url


@pytest.fixture(scope="session")
def tracking_uri(database_url: str, server_dir: Path) -> Iterator[str]:
    with kept("BATON_TEST_TRACKING_URI") or mlflow_server(server_dir, database_url) as url:
        yield url
