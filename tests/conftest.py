"""Real servers for tests: PostgreSQL, nats-server and MLflow, each on a free port, stopped by its own handle."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.local.datadir import DataDir
from compose.local.postgres import database_url as postgres_url
from compose.local.postgres import postgres_child
from shared.settings import sqlalchemy_url
from tests.servers import answers, free_port, running, wait_for


@pytest.fixture(scope="session")
def server_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def nats_url(server_dir: Path) -> Iterator[str]:
    port, monitor = free_port(), free_port()
    binary = Path(sys.executable).parent / "nats-server"
    command = [
        str(binary),
        "-a",
        "127.0.0.1",
        "-p",
        str(port),
        "-m",
        str(monitor),
        "-js",
        "-sd",
        str(server_dir / "js"),
    ]
    with running(command, server_dir / "nats.log"):
        wait_for("nats-server", answers(f"http://127.0.0.1:{monitor}/healthz"))
        yield f"nats://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def database_url(server_dir: Path) -> Iterator[str]:
    data, port = DataDir(server_dir), free_port()
    data.create()
    child = postgres_child(data, port)  # as `baton up` runs it, root's troubles included
    asyncio.run(child.prepare())
    command = [*child.account.prefix, *child.argv]
    with running(command, server_dir / "postgres.log", cwd=child.home, **child.account.switching):
        wait_for("PostgreSQL", lambda: asyncio.run(child.check()) is None)
        yield postgres_url(data, port)


@pytest.fixture(scope="session")
def tracking_uri(database_url: str, server_dir: Path) -> Iterator[str]:
    port = free_port()
    env = {
        "MLFLOW_BACKEND_STORE_URI": sqlalchemy_url(database_url),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONDONTWRITEBYTECODE": "",
    }
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        *options,
        "--artifacts-destination",
        str(server_dir / "artifacts"),
    ]
    with running(command, server_dir / "mlflow.log", env):
        wait_for("MLflow", answers(f"http://127.0.0.1:{port}/health"), deadline_s=110)
        yield f"http://127.0.0.1:{port}"
