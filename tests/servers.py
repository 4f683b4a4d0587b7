"""Starting real servers for tests, waiting for them, and ending each by its own handle."""

import asyncio
import errno
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import pytest

from compose.local.datadir import DataDir
from compose.local.postgres import database_url, postgres_child
from shared.locks import take
from shared.settings import sqlalchemy_url

PORTS = range(20_000, 32_000)  # systems give none of these to who connects, or asks for any
_claims: list[TextIO] = []


def free_port() -> int:
    """Return a port at which nobody listens; other processes of tests get another one until this process ends."""
    folder = Path(tempfile.gettempdir()) / f"baton-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    while True:
        port = secrets.choice(PORTS)  # not of `random`, which tests may have begun anew
        claim = (folder / str(port)).open("w")
        if take(claim) and not _is_taken(port):
            _claims.append(claim)
            return port
        claim.close()


def _is_taken(port: int) -> bool:
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return True
    return False


def wait_for(what: str, check: Callable[[], bool], deadline_s: float = 60.0) -> None:
    """Poll a condition; fail saying what was waited for."""
    ends = time.monotonic() + deadline_s
    while time.monotonic() < ends:
        if check():
            return
        time.sleep(0.05)
    pytest.fail(f"waited {deadline_s:.0f} s in vain for {what}")


@contextmanager
def running(
    command: list[str], log: Path, env: dict[str, str] | None = None, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in a process group of its own, and end the whole group afterwards."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(env or {})},
            **options,
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
        except urllib.error.HTTPError as error:
            error.close()  # it holds the connection
            return False
        except OSError:
            return False

    return check


@contextmanager
def nats_server(folder: Path, port: int | None = None) -> Iterator[str]:
    """Run a NATS server with JetStream and yield its address; one folder holds one server's streams."""
    port, monitor = port or free_port(), free_port()
    binary = str(Path(sys.executable).parent / "nats-server")
    address = ["-a", "127.0.0.1", "-p", str(port), "-m", str(monitor)]
    with running([binary, *address, "-js", "-sd", str(folder / "js")], folder / "nats.log"):
        wait_for("nats-server", answers(f"http://127.0.0.1:{monitor}/healthz"))
        yield f"nats://127.0.0.1:{port}"


@contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """Run PostgreSQL as `baton up` does, root's troubles included, and yield the address of its database."""
    data, port = DataDir(folder), free_port()
    data.create()
    child = postgres_child(data, port)
    asyncio.run(child.prepare())
    command = [*child.account.prefix, *child.argv]
    with running(command, folder / "postgres.log", cwd=child.home, **child.account.switching):
        wait_for("PostgreSQL", lambda: asyncio.run(child.check()) is None)
        yield database_url(data, port)


@contextmanager
def mlflow_server(folder: Path, database: str) -> Iterator[str]:
    """Run MLflow on a database and yield its address."""
    port = free_port()
    env = {
        "MLFLOW_BACKEND_STORE_URI": sqlalchemy_url(database),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONDONTWRITEBYTECODE": "",
    }
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    artifacts = ["--artifacts-destination", str(folder / "artifacts")]
    with running([sys.executable, "-m", "mlflow", "server", *options, *artifacts], folder / "mlflow.log", env):
        wait_for("MLflow", answers(f"http://127.0.0.1:{port}/health"), deadline_s=110)
        yield f"http://127.0.0.1:{port}"
