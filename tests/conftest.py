"""Real servers for tests: PostgreSQL, nats-server and MLflow, each on a free port, stopped by its own handle."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from shared.settings import sqlalchemy_url
from tests.servers import answers, free_port, postgres_binaries, running, wait_for

NOBODY = 65534


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
    binaries = postgres_binaries()
    port, password = free_port(), secrets.token_hex(8)
    data, password_file = server_dir / "postgres", server_dir / "password"
    password_file.write_text(password)
    # PostgreSQL refuses to run as root; a user namespace makes it another user without changing any file's owner.
    prefix = [] if os.geteuid() else ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"]
    initdb = [str(binaries / "initdb"), "-D", str(data), "-U", "mlflow", "-A", "scram-sha-256", "-E", "utf8"]
    subprocess.run([*prefix, *initdb, f"--pwfile={password_file}"], check=True, capture_output=True)
    settings = ["-c", "listen_addresses=127.0.0.1", "-c", f"port={port}", "-c", "unix_socket_directories="]
    url = f"postgresql://mlflow:{password}@127.0.0.1:{port}/"
    with running([*prefix, str(binaries / "postgres"), "-D", str(data), *settings], server_dir / "postgres.log"):
        wait_for("PostgreSQL", lambda: _connects(url + "postgres"))
        connection = psycopg2.connect(url + "postgres")
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE baton")
        connection.close()
        yield url + "baton"


def _connects(url: str) -> bool:
    try:
        psycopg2.connect(url, connect_timeout=2).close()
    except psycopg2.OperationalError:
        return False
    return True


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
