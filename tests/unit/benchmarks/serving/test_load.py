"""The load generator counts right answers only, whoever gives them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks.serving.load import Task, questions_of, run

ROWS = [{"a": float(number)} for number in range(64)]
RIGHT = [number / 100 for number in range(64)]

Answer = Callable[[list[list[float]]], bytes]


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[int]:
    """Answer every request of the bare limit's dialect, in two pieces."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).lower():
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                content = answer(orjson.loads(await reader.readexactly(length)))
                writer.write(content[:30])
                await writer.drain()
                writer.write(content[30:])
                if not content:
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await listening.wait_closed()


def said(content: Any, status: bytes = b"200 OK") -> bytes:
    body = orjson.dumps(content)
    return b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body


def right(rows: list[list[float]]) -> bytes:
    return said([[1 - row[0] / 100, row[0] / 100] for row in rows])


def task(folder: Path, port: int, connections: int = 2) -> Task:
    questions = folder / "questions.json"
    questions.write_text(json.dumps({"rows": ROWS, "answers": RIGHT}))
    return Task("limit", "m", port, str(questions), connections, rows=1, seconds=0.2, warm_up=0.02, core=0)


async def figures(folder: Path, answer: Answer) -> dict[str, Any]:
    async with server(answer) as port:
        asked = task(folder, port)
        return await asyncio.to_thread(run, asked, questions_of(asked))


async def test_right_answers_are_counted(tmp_path: Path) -> None:
    found = await figures(tmp_path, right)
    assert (found["errors"], found["first_error"]) == (0, "")
    assert found["rps"] > 0
    assert 0 < found["p50_ms"] <= found["p99_ms"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda rows: said([[0.0, 0.999]] * len(rows)), "off by"),
        (lambda rows: said([[0.5, 0.5]] * (len(rows) + 1)), "2 answers to 1 rows"),
        (lambda rows: said({"error": "too much"}, b"503 Service Unavailable"), "503"),
        (lambda rows: b"", "connection lost"),
    ],
)
async def test_anything_else_is_an_error(tmp_path: Path, answer: Answer, error: str) -> None:
    found = await figures(tmp_path, answer)
    assert found["errors"] > 0
    assert error in found["first_error"]
    assert found["rps"] == 0


def test_single_rows_are_asked_with_different_questions(tmp_path: Path) -> None:
    questions = questions_of(task(tmp_path, 0))
    assert len({request for request, _ in questions}) == len(questions) == 64
    assert [answer for _, answer in questions] == [[value] for value in RIGHT]
