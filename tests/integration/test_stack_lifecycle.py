"""The life of the real stack: PostgreSQL, NATS and MLflow heal, `baton up` leaves nothing behind and keeps its data."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
import httpx
import psutil
import psycopg2
import pytest

from compose.local import leftovers
from compose.local.child import Change, Child
from compose.local.datadir import DataDir
from compose.local.mlflow import mlflow_child
from compose.local.nats import nats_child
from compose.local.ports import HOST, choose
from compose.local.postgres import database_url, postgres_child
from compose.local.state import read_state
from compose.local.supervisor import Supervisor
from tests.servers import free_port, wait_for
from tests.stack import BATON, FREE_PORTS, running_stack

BUSY_QUERY = "SELECT count(*) FROM generate_series(1, 1000000000000)"

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """A data directory that only its owner reaches: as root, PostgreSQL runs in a user namespace."""
    return prepared(tmp_path / "data")


@pytest.fixture
def open_data() -> Iterator[DataDir]:
    """A data directory that everybody reaches: as root, PostgreSQL runs as `nobody`."""
    folder = Path(tempfile.mkdtemp(prefix="baton-test-"))
    folder.chmod(0o755)
    yield prepared(folder / "data")
    shutil.rmtree(folder)


def prepared(folder: Path) -> DataDir:
    data = DataDir(folder)
    data.create()
    return data


class Running:
    """Children that are ready, and waiting for one of them to be ready once more."""

    def __init__(self, children: list[Child], data: DataDir) -> None:
        self._changes: list[Change] = []
        self.supervisor = Supervisor(children, data, self._changes.append)

    def times_ready(self, part: str) -> int:
        return sum(change.part == part and change.state == "ready" for change in self._changes)

    async def heal(self, part: str, pid: int) -> None:
        """Kill a process of a part, and wait until the part is ready again."""
        before = self.times_ready(part)
        os.kill(pid, signal.SIGKILL)
        with anyio.move_on_after(60):
            while self.times_ready(part) == before:
                await anyio.sleep(0.05)
            return
        pytest.fail(f"waited 60 s in vain for {part} to heal: {self._changes}")


@asynccontextmanager
async def running(data: DataDir, *children: Child) -> AsyncIterator[Running]:
    """Run children, and check that nothing of them is left afterwards."""
    run = Running(list(children), data)
    async with run.supervisor.running():
        yield run
    assert leftovers.find(data) == []


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(url, connect_timeout=5)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


async def test_killed_servers_heal_with_their_data(data: DataDir) -> None:
    ports = choose(dict.fromkeys(("postgres", "nats", "nats_monitor", "mlflow"), 0))
    url = database_url(data, ports["postgres"])
    experiments = f"http://{HOST}:{ports['mlflow']}/api/2.0/mlflow/experiments"
    children = [
        mlflow_child(data, ports["mlflow"], url),
        postgres_child(data, ports["postgres"]),
        nats_child(data, ports["nats"], ports["nats_monitor"]),
    ]
    async with running(data, *children) as run, httpx.AsyncClient(timeout=10, trust_env=False) as client:
        (await client.post(f"{experiments}/create", json={"name": "kept"})).raise_for_status()
        for part in ("postgres", "nats", "mlflow"):
            await run.heal(part, run.supervisor.pids[part])
        (server,) = psutil.Process(run.supervisor.pids["mlflow"]).children()
        await run.heal("mlflow", server.pid)  # its HTTP server, not the process that started it
        found = await client.get(f"{experiments}/get-by-name", params={"experiment_name": "kept"})
        assert found.status_code == 200


async def postgres_life(data: DataDir) -> None:
    port = choose({"postgres": 0})["postgres"]
    url = database_url(data, port)
    async with running(data, postgres_child(data, port)) as run:
        execute(url, "CREATE TABLE IF NOT EXISTS kept (n int)")
        execute(url, "INSERT INTO kept VALUES (1)")
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            execute(url.replace(data.secret("postgres"), "guessed"), "SELECT 1")
        await run.heal("postgres", run.supervisor.pids["postgres"])
        assert execute(url, "SELECT count(*) >= 1 FROM kept") == [(True,)]


async def test_postgres_in_a_directory_that_only_its_owner_reaches(data: DataDir) -> None:
    for _ in range(2):
        await postgres_life(data)


async def test_postgres_in_a_directory_that_everybody_reaches(open_data: DataDir) -> None:
    for _ in range(2):
        await postgres_life(open_data)
    cluster = (open_data.root / "postgres").stat()
    assert stat.S_IMODE(cluster.st_mode) == 0o700
    assert cluster.st_uid != 0  # PostgreSQL refuses root


async def test_postgres_starts_after_an_initdb_cut_off_and_with_a_recycled_pid(data: DataDir) -> None:
    (data.root / "postgres.new").mkdir()
    (data.root / "postgres.new" / "half").touch()
    await postgres_life(data)
    pid_file = data.root / "postgres" / "postmaster.pid"
    pid_file.write_text(f"{os.getppid()}\n{pid_file.parent}\n0\n5432\n\n{HOST}\n\nready\n")
    await postgres_life(data)


async def test_postgres_heals_while_a_backend_is_too_busy_to_notice(data: DataDir) -> None:
    """A backend in a long query outlives its server and keeps the shared memory that the next one refuses to share."""
    port = choose({"postgres": 0})["postgres"]
    url = database_url(data, port)

    def keep_busy() -> None:
        with pytest.raises(psycopg2.OperationalError):
            execute(url, BUSY_QUERY)

    async with running(data, postgres_child(data, port)) as run:
        client = threading.Thread(target=keep_busy)
        client.start()
        active = f"SELECT 1 FROM pg_stat_activity WHERE query = '{BUSY_QUERY}' AND state = 'active'"
        await anyio.to_thread.run_sync(wait_for, "the busy query", lambda: execute(url, active) == [(1,)])
        await run.heal("postgres", run.supervisor.pids["postgres"])
        client.join(10)
        assert not client.is_alive()


def test_up_killed_and_started_again_leaves_nothing_and_keeps_its_data(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with running_stack(["up"], data_dir) as first:
        experiments = f"{first.state.urls['mlflow']}/api/2.0/mlflow/experiments"
        httpx.post(f"{experiments}/create", json={"name": "kept"}, timeout=10).raise_for_status()
        second = subprocess.run(
            [BATON, "up", "--data-dir", str(data_dir)], capture_output=True, text=True, timeout=60, check=False
        )
        assert second.returncode == 1
        assert f"pid {first.process.pid} since" in second.stderr
        assert first.state.urls["mlflow"] in second.stderr
        family = psutil.Process(first.process.pid).children(recursive=True)
        fresh_s = first.state.ready_s
        first.process.kill()
        first.process.wait(10)
    with running_stack(["up"], data_dir) as again:
        assert [each.cmdline() for each in family if each.is_running() and each.status() != "zombie"] == []
        url = f"{again.state.urls['mlflow']}/api/2.0/mlflow/experiments/get-by-name"
        assert httpx.get(url, params={"experiment_name": "kept"}, timeout=10).status_code == 200
        logs = again.baton("logs", "nats", "-n", "1000")
        assert logs.stdout.count("--- baton starts nats") == 2
        assert DataDir(data_dir).secret("postgres") not in json.dumps(again.report())
        print(f"ready: fresh {fresh_s:.1f} s, again {again.state.ready_s:.1f} s")
        again.process.send_signal(signal.SIGTERM)
        assert again.process.wait(60) == 0
    assert read_state(data_dir) is None
    assert leftovers.find(DataDir(data_dir)) == []


def up(data_dir: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a `baton up` that is expected to end by itself."""
    command = [BATON, "up", "--data-dir", str(data_dir), *FREE_PORTS, *words]
    inherited = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**inherited, **environment}
    )


def test_a_taken_port_is_named_with_how_to_change_it(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        refused = up(tmp_path / "data", "--port", f"nats={port}")
    assert refused.returncode == 1
    assert f"port {port} for nats" in refused.stderr
    assert "--port nats=N" in refused.stderr


def test_wrong_usage_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    refused = up(tmp_path / "data", "--port", "grafana=1")
    assert refused.returncode == 2
    assert "grafana" in refused.stderr
    assert not (tmp_path / "data").exists()


def test_an_attached_part_that_does_not_answer_is_named(tmp_path: Path) -> None:
    refused = up(tmp_path / "data", BATON_NATS_URL=f"nats://127.0.0.1:{free_port()}")
    assert refused.returncode == 4
    assert "BATON_NATS_URL" in refused.stderr


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = up(tmp_path / "file" / "data")
    assert refused.returncode == 1
    assert "choose another with --data-dir" in refused.stderr
