"""Steady load knows what each version answers, and counts what does not."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from benchmarks.reload.load import Connection, Load, Outcome, Task

ANSWERS = [[0.25], [0.75]]  # of even versions, of odd ones
Answer = Callable[[int], bytes]


def said(version: str, probability: float, status: bytes = b"200 OK") -> bytes:
    body = orjson.dumps({"version": version, "probabilities": {"1": probability}})
    return b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[int]:
    """Answer the nth request as a function says."""
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).lower():
                await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
                writer.write(answer(count))
                count += 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await listening.wait_closed()


async def asked(folder: Path, answer: Answer, enough: int = 20) -> Outcome:
    """Ask until there are enough outcomes."""
    questions, outcome, loop = folder / "questions.json", Outcome(), asyncio.get_running_loop()
    questions.write_text(json.dumps({"names": ["a"], "rows": [[1.0]], "answers": ANSWERS}))
    async with server(answer) as port, asyncio.timeout(20):
        load = Load(Task("baton", port, "m", str(questions), 1000.0, 2, 0, ""), outcome)
        made = [await loop.create_connection(lambda: Connection(load), "127.0.0.1", port) for _ in range(2)]
        until = loop.create_future()
        running = asyncio.create_task(load.run(until))
        while len(outcome.answered) + len(outcome.failed) < enough:
            await asyncio.sleep(0.005)
        until.set_result(b"")
        await running
        for transport, _ in made:
            transport.close()
    return outcome


async def test_an_answer_is_right_for_the_version_that_it_names(tmp_path: Path) -> None:
    outcome = await asked(tmp_path, lambda count: said("7", 0.75) if count % 2 else said("8", 0.25))
    assert (outcome.failed, outcome.mismatched, outcome.versions) == ([], [], {"7", "8"})
    assert all(latency >= 0 for _, latency in outcome.answered)


async def test_another_version_s_answer_is_a_mismatch(tmp_path: Path) -> None:
    outcome = await asked(tmp_path, lambda count: said("7", 0.25 if count == 3 else 0.75))
    assert len(outcome.mismatched) == 1
    assert outcome.failed == []


@pytest.mark.parametrize("status", [b"503 Service Unavailable", b"404 Not Found"])
async def test_an_answer_that_is_not_200_has_failed(tmp_path: Path, status: bytes) -> None:
    outcome = await asked(tmp_path, lambda count: said("7", 0.75, status if count == 3 else b"200 OK"))
    assert len(outcome.failed) == 1
    assert status.partition(b" ")[0].decode() in outcome.failed[0]
