"""Logs: their ends, what is appended to them, and their size."""

from pathlib import Path

import anyio
import pytest

from compose.local import logs
from compose.local.datadir import DataDir
from shared.errors import StackError


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    data = DataDir(tmp_path)
    data.create()
    for name in ("nats", "mlflow"):
        data.log(name).write_text("".join(f"{name} {n}\n" for n in range(5)))
    return data


def test_the_last_lines(data: DataDir) -> None:
    assert logs.tail(data.log("nats"), 2) == ["nats 3", "nats 4"]
    assert logs.tail(data.log("nats"), 0) == []
    assert logs.tail(data.log("nobody"), 5) == []


def test_bytes_that_are_no_text_do_no_harm(data: DataDir) -> None:
    data.log("nats").write_bytes(b"\xff\xfe\n")
    assert len(logs.tail(data.log("nats"), 5)) == 1


def test_one_or_all_are_selected(data: DataDir) -> None:
    assert logs.select(data, None) == ["mlflow", "nats"]
    assert logs.select(data, "nats") == ["nats"]


def test_an_unknown_service_gets_the_list_of_known_ones(data: DataDir) -> None:
    with pytest.raises(StackError, match=r"'redis'.*mlflow, nats"):
        logs.select(data, "redis")


def test_no_logs_at_all(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="baton up"):
        logs.select(DataDir(tmp_path / "nowhere"), None)


def test_a_large_log_is_rotated_at_the_next_start(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "ROTATE_BYTES", 10)
    with logs.open_log(data, "nats") as log:
        log.write(b"new\n")
    assert data.log("nats").read_text() == "new\n"
    assert data.log("nats").with_name("nats.log.1").read_text().endswith("nats 4\n")
    assert logs.names(data) == ["mlflow", "nats"]


async def test_following_yields_whole_lines_in_time_and_survives_a_rotation(data: DataDir) -> None:
    send, receive = anyio.create_memory_object_stream[tuple[str, str]](10)

    async def follow() -> None:
        async for entry in logs.follow(data, ["mlflow", "nats"]):
            await send.send(entry)

    async with send, receive, anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        await anyio.wait_all_tasks_blocked()
        with data.log("nats").open("a") as log:
            log.write("half")
            log.flush()
            log.write(" and whole\nnext")
        with anyio.fail_after(5):
            assert await receive.receive() == ("nats", "half and whole")
        data.log("nats").replace(data.log("nats").with_name("nats.log.1"))
        data.log("nats").write_text("rotated\n")
        with anyio.fail_after(5):
            assert await receive.receive() == ("nats", "rotated")
        tasks.cancel_scope.cancel()
