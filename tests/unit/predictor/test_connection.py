"""Connections over real sockets: a request that came whole is answered as one that came in pieces."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from uvicorn.server import ServerState

from services.predictor import connection
from services.predictor.connection import Connection
from services.predictor.executor import ROWS_INLINE
from services.predictor.routes.front import BYTES_AT_ONCE
from services.predictor.whole import Whole
from tests import bundles
from tests.unit.predictor.api import Predictor
from tests.unit.predictor.conftest import until

INFER = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]}'
ASKED = [  # path, body, and whether a whole request is answered at once
    ("/predict", b'{"x": 1}', True),
    ("/models/heart/predict", b'[{"x": 1}, {"x": 2}]', True),
    ("/models/heart/predict", b'{"columns": {"x": [1, 2]}}', True),
    ("/models/heart/predict", b'{"x": "one"}', True),
    ("/models/heart/predict", b'{"x": 1', True),
    ("/models/nobody/predict", b'{"x": 1}', True),
    ("/models/heart/predict", b"[" + b", ".join([b'{"x": 1}'] * (ROWS_INLINE + 1)) + b"]", False),
    ("/models/heart/predict", b"[" + b", ".join([b'{"x": 1}'] * (ROWS_INLINE + 2)) + b"]", True),
    ("/models/heart/predict", b" " * BYTES_AT_ONCE + b'{"x": 1}', True),
    ("/v2/models/heart/infer", INFER, True),
    ("/v2/models/heart/versions/2/infer", INFER, True),
    ("/invocations", b'{"inputs": {"x": [1]}}', True),
]


class Client:
    """One end of a connection; answers are read as (head, body)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, other: Connection) -> None:
        self._reader = reader
        self._other = other
        self.send = writer.write
        self.close = writer.close

    def keeps_alive_for(self, seconds: float) -> None:
        self._other.timeout_keep_alive = seconds  # type: ignore[assignment]

    def stops(self) -> None:
        self._other.shutdown()

    async def is_read(self) -> None:
        async with asyncio.timeout(10):
            while self._other._is_between:
                await asyncio.sleep(0.001)

    async def head_is_read(self) -> None:
        async with asyncio.timeout(10):
            while not self._other.cycle or self._other.cycle.response_complete:
                await asyncio.sleep(0.001)

    async def says_go_on(self) -> bool:
        async with asyncio.timeout(10):
            return await self._reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"

    async def answer(self) -> tuple[bytes, bytes]:
        async with asyncio.timeout(10):
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return head, await self._reader.readexactly(length)

    async def has_ended(self) -> bool:
        async with asyncio.timeout(10):
            return await self._reader.read() == b""


@asynccontextmanager
async def connected(predictor: Predictor) -> AsyncIterator[Client]:
    config = uvicorn.Config(predictor.api, log_config=None, access_log=False, proxy_headers=False, lifespan="off")
    other = Connection(config, ServerState(), {})
    server = await asyncio.get_running_loop().create_server(lambda: other, "127.0.0.1", 0)
    client = Client(*await asyncio.open_connection(*server.sockets[0].getsockname()), other)
    try:
        yield client
    finally:
        client.close()
        server.close()


def request(path: str, body: bytes, *more: bytes, version: bytes = b"1.1") -> tuple[bytes, bytes]:
    lines = [
        b"POST %s HTTP/%s" % (path.encode(), version),
        b"host: predictor",
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        *more,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n", body


@pytest.fixture
async def heart(predictor: Predictor, tmp_path: Path) -> Predictor:
    predictor.serve("heart", bundles.classifier(tmp_path, 0.25), quick=True)
    return predictor


@pytest.mark.parametrize(("path", "body", "at_once"), ASKED)
async def test_whole_or_in_pieces_the_answer_is_the_same(
    heart: Predictor, path: str, body: bytes, at_once: bool
) -> None:
    head, _ = request(path, body)
    assert (heart.api.at_once(Whole(path.encode(), [], body)) is not None) == at_once
    async with connected(heart) as client:
        client.send(head + body)
        whole = await client.answer()
        client.send(head)
        await client.head_is_read()
        client.send(body)
        pieces = await client.answer()
    assert sorted(whole[0].split(b"\r\n")) == sorted(pieces[0].split(b"\r\n"))
    assert whole[1] == pieces[1]
    assert heart.gate.inside == 0


async def test_who_closes_the_connection_is_waited_for_no_longer(heart: Predictor, tmp_path: Path) -> None:
    paused = heart.serve_paused("heart", bundles.classifier(tmp_path, 0.25), "2")
    async with connected(heart) as client:
        client.send(b"".join(request("/predict", b'{"x": 1}')))
        await until(paused.begun.is_set, "the model to be asked")
        client.close()
        await until(lambda: heart.gate.inside == 0, "the request to be given up, though its model goes on")
    paused.released.set()


async def test_requests_in_one_go_are_answered_in_order(heart: Predictor) -> None:
    paths = ["/models/heart/predict", "/models/nobody/predict", "/nowhere", "/models/heart/predict"]
    async with connected(heart) as client:
        client.send(b"".join(b"".join(request(path, b'{"x": 1}')) for path in paths))
        heads = [(await client.answer())[0] for _ in paths]
    assert [head.split(b" ")[1] for head in heads] == [b"200", b"404", b"404", b"200"]


@pytest.mark.parametrize("cut", [1, 6, 40, -1])
async def test_a_whole_request_behind_a_half_one_is_no_whole_one(heart: Predictor, cut: int) -> None:
    """What comes next on a connection ends the half one, whatever it looks like."""
    data = b"".join(request("/models/heart/predict", b'{"x": 1}'))
    async with connected(heart) as client:
        for _ in range(2):
            client.send(data[:cut])
            await client.is_read()
            client.send(data[cut:])
            assert (await client.answer())[0].startswith(b"HTTP/1.1 200")
            client.send(data)
            assert (await client.answer())[0].startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("endless", [b"/" + b"a" * 1_000, b"/predict HTTP/1.1\r\n" + b"more: x\r\n" * 100])
async def test_a_head_without_an_end_is_refused(heart: Predictor, endless: bytes) -> None:
    async with connected(heart) as client:
        client.send(b"POST " + endless)
        for _ in range(100):
            await client.is_read()
            client.send(b"b" * 1_000)
        head, body = await client.answer()
        assert head.startswith(b"HTTP/1.1 431")
        assert b"more than 65536 bytes" in body


async def test_a_head_that_never_comes_is_refused(heart: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.05)
    async with connected(heart) as client:
        client.send(b"POST /predict HTTP/1.1\r\nhost:")
        head, body = await client.answer()
        assert head.startswith(b"HTTP/1.1 408")
        assert b"did not arrive within" in body
        assert await client.has_ended()


async def test_a_whole_request_is_not_too_large_only_in_pieces(tmp_path: Path) -> None:
    strict = Predictor(tmp_path, max_body_bytes=100)
    strict.serve("heart", bundles.classifier(tmp_path, 0.25), quick=True)
    async with connected(strict) as client:
        client.send(b"".join(request("/predict", b" " * 100 + b'{"x": 1}')))
        assert (await client.answer())[0].startswith(b"HTTP/1.1 413")


async def test_who_was_answered_may_ask_once_more_while_the_server_stops(heart: Predictor) -> None:
    async with connected(heart) as client:
        client.send(b"POST /nowhere HTTP/1.1\r\nhost: predictor\r\ncontent-length: 0\r\n\r\n")
        assert (await client.answer())[0].startswith(b"HTTP/1.1 404")
        client.stops()
        client.send(b"".join(request("/predict", b'{"x": 1}')))
        assert (await client.answer())[0].startswith(b"HTTP/1.1 200")
        assert await client.has_ended()


async def test_who_says_nothing_for_a_while_is_left(heart: Predictor) -> None:
    async with connected(heart) as client:
        client.keeps_alive_for(0.01)
        client.send(b"".join(request("/predict", b'{"x": 1}')))
        await client.answer()
        assert await client.has_ended()


async def test_who_goes_on_asking_is_not_left(heart: Predictor) -> None:
    clock = asyncio.get_running_loop().time
    async with connected(heart) as client:
        client.keeps_alive_for(0.5)
        ends = clock() + 1.2
        while clock() < ends:
            client.send(b"".join(request("/predict", b'{"x": 1}')))
            await client.answer()
        assert await client.has_ended()


@pytest.mark.parametrize(("more", "version"), [((b"connection: close",), b"1.1"), ((), b"1.0")])
async def test_who_asks_for_it_is_left_after_the_answer(
    heart: Predictor, more: tuple[bytes, ...], version: bytes
) -> None:
    async with connected(heart) as client:
        client.send(b"".join(request("/predict", b'{"x": 1}', *more, version=version)))
        head, _ = await client.answer()
        assert b"connection: close\r\n" in head
        assert await client.has_ended()


async def test_a_worker_that_drains_asks_to_connect_anew(heart: Predictor) -> None:
    heart.gate.is_draining = True
    async with connected(heart) as client:
        client.send(b"".join(request("/predict", b'{"x": 1}')))
        head, _ = await client.answer()
        assert head.startswith(b"HTTP/1.1 200")
        assert b"connection: close\r\n" in head
        assert await client.has_ended()


async def test_too_many_requests_are_refused(heart: Predictor) -> None:
    heart.gate.inside = 8
    async with connected(heart) as client:
        client.send(b"".join(request("/predict", b'{"x": 1}')))
        head, _ = await client.answer()
    assert head.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 1\r\n" in head


async def test_who_waits_for_a_sign_to_go_on_gets_it(heart: Predictor) -> None:
    head, body = request("/predict", b'{"x": 1}', b"expect: 100-continue")
    async with connected(heart) as client:
        client.send(head)
        assert await client.says_go_on()
        client.send(body)
        assert (await client.answer())[0].startswith(b"HTTP/1.1 200")
