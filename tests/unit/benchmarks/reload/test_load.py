"""Steady load asks when it is time, knows what each version answers, and counts what does not."""

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import orjson
import pytest

from benchmarks.connection import Connection, Outcome
from benchmarks.reload.load import Found, Task, check, pieces, run

ANSWERS = [[0.25], [0.75]]  # of even versions, of odd ones
ENOUGH = 20
Answer = Callable[[int], bytes]


def said(version: str, probability: float, status: bytes = b"200 OK") -> bytes:
    body = orjson.dumps({"version": version, "probabilities": {"1": probability}})
    return b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body


def task(folder: Path, port: int) -> Task:
    questions = folder / "questions.json"
    questions.write_text(json.dumps({"names": ["a"], "rows": [[1.0]], "answers": ANSWERS}))
    return Task(
        "baton", port, "m", str(questions), rows=1, rate=1000.0, arrivals="even", connections=2, core=0, into=""
    )


@asynccontextmanager
async def server(answer: Answer, until: int, enough: int) -> AsyncIterator[int]:
    """Answer the nth request as a function says, by nothing if that is empty; end the load when it was asked enough."""
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).lower():
                await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
                content, count = answer(count), count + 1
                if count == enough:
                    os.write(until, b"\n")
                if not content:
                    break
                writer.write(content)
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


async def asked(folder: Path, answer: Answer, enough: int = ENOUGH) -> Found:
    """Ask until the server has been asked enough."""
    read, write = os.pipe()
    try:
        async with server(answer, write, enough) as port, asyncio.timeout(20):
            return await asyncio.to_thread(run, task(folder, port), read)
    finally:
        os.close(read)
        os.close(write)


async def test_an_answer_is_right_for_the_version_that_it_names(tmp_path: Path) -> None:
    found = await asked(tmp_path, lambda count: said("7", 0.75) if count % 2 else said("8", 0.25))
    assert (found.failed, found.mismatched, found.versions) == ([], [], {"7", "8"})
    assert len(found.answered) >= ENOUGH
    assert all(latency >= 0 for _, latency in found.answered)


async def test_another_version_s_answer_is_a_mismatch(tmp_path: Path) -> None:
    found = await asked(tmp_path, lambda count: said("7", 0.25 if count == 3 else 0.75))
    assert len(found.mismatched) == 1
    assert found.failed == []


async def test_requests_that_wait_for_a_server_count_from_when_they_were_due(tmp_path: Path) -> None:
    """Coordinated omission would be to ask fewer while the server hangs."""

    def hang_once(number: int) -> bytes:
        if number == 4:
            time.sleep(0.2)  # the whole server; the load runs in a thread
        return said("7", 0.75)

    found = await asked(tmp_path, hang_once, enough=400)
    late = [latency for _, latency in found.answered if latency > 0.05]
    assert len(late) > 100  # of 200 that are due meanwhile, over two connections


@pytest.mark.parametrize("status", [b"503 Service Unavailable", b"404 Not Found"])
async def test_an_answer_that_is_not_200_has_failed(tmp_path: Path, status: bytes) -> None:
    found = await asked(tmp_path, lambda count: said("7", 0.75, status if count == 3 else b"200 OK"))
    assert len(found.failed) == 1
    assert status.partition(b" ")[0].decode() in found.failed[0]


async def test_a_lost_connection_is_a_failure_and_the_others_go_on(tmp_path: Path) -> None:
    found = await asked(tmp_path, lambda count: b"" if count == 3 else said("7", 0.75))
    assert found.failed == ["connection lost"]
    assert len(found.answered) >= ENOUGH - 1


def test_an_answer_is_compared_to_its_own_question(tmp_path: Path) -> None:
    head, body = said("8", 0.5).split(b"\r\n\r\n")
    outcome = Outcome()
    for question in (0, 1):
        outcome.keep(question, head, body, asked=1.0, answered=1.5)
    found = check(task(tmp_path, 0), outcome, [[0.5, 0.9], [0.1, 0.1]])
    assert (len(found.mismatched), found.answered[0]) == (1, (1.0, 0.5))


def test_connections_that_share_numbers_ask_different_questions() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        numbers, port = count(), server.getsockname()[1]
        connections = [Connection(port, [b"a", b"b", b"c"], Outcome(), numbers) for _ in range(2)]
        for connection in connections:
            connection.ask()
        asked = [server.accept()[0] for _ in connections]
        assert [one.recv(1) for one in asked] == [b"a", b"b"]
        for each in (*asked, *(connection.socket for connection in connections)):
            each.close()


def test_a_request_has_so_many_rows() -> None:
    assert pieces([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]


def test_equal_answers_are_kept_once() -> None:
    outcome = Outcome()
    for _ in range(2):
        outcome.keep(0, bytes(bytearray(b"head")), bytes(bytearray(b"body")), asked=1.0, answered=1.5)
    first, second = outcome.answers
    assert first.body is second.body
    assert first.head is second.head
