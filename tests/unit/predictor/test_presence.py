"""Clients that go away: what they asked for is given up, and counted as neither an answer nor a fault of theirs."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from services.predictor.executor import ROWS_INLINE
from services.predictor.routes import front
from services.predictor.routes.protocol import Question, Reply, reply_to
from services.predictor.slot import Champion
from shared.events import BundleRef
from shared.runtime import Prediction
from tests import bundles
from tests.exposition import counted
from tests.unit.predictor.api import Predictor
from tests.unit.predictor.conftest import promoted, until

REF = BundleRef(object="o", digest="sha256:1", size=1)
SCOPE = {"type": "http", "method": "POST", "path": "/predict", "raw_path": b"/predict", "headers": []}
GONE: Message = {"type": "http.disconnect"}


class Client:
    """A connection: what has come over it, and what was sent back."""

    def __init__(self, *messages: Message) -> None:
        self._messages = asyncio.Queue[Message]()
        self.statuses = list[int]()
        for message in messages:
            self.comes(message)

    def comes(self, message: Message) -> None:
        self._messages.put_nowait(message)

    async def receive(self) -> Message:
        return await self._messages.get()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.statuses.append(message["status"])


def body(content: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": content, "more_body": more}


async def counts(predictor: Predictor) -> tuple[float, float]:
    """Return how many predictions were answered, and how many were given up."""
    found = counted((await predictor.client.get("/metrics")).text)
    answered = sum(value for (name, *_), value in found.items() if name == "baton_prediction_seconds_count")
    return answered, found.get(("baton_prediction_failures_total", "499"), 0.0)


@pytest.mark.parametrize("part", [b'{"x": 1}', b'{"x":', b""])
async def test_a_body_that_was_cut_off_is_not_answered(predictor: Predictor, tmp_path: Path, part: bytes) -> None:
    predictor.serve("heart", bundles.classifier(tmp_path, 0.25))
    await predictor.api(SCOPE, (client := Client(body(part, more=True), GONE)).receive, client.send)
    assert client.statuses == [499]
    assert await counts(predictor) == (0, 1)


async def test_a_client_that_never_sent_a_body_is_not_answered(predictor: Predictor, tmp_path: Path) -> None:
    predictor.serve("heart", bundles.classifier(tmp_path, 0.25))
    await predictor.api(SCOPE, (client := Client(GONE)).receive, client.send)
    assert client.statuses == [499]


async def test_who_goes_away_leaves_the_room_to_others(tmp_path: Path) -> None:
    predictor = Predictor(tmp_path, max_waiting=2)
    paused = predictor.serve_paused("heart", bundles.classifier(tmp_path, 0.25))
    clients = [Client(body(b'{"x": 1}')) for _ in range(2)]
    asking = [asyncio.create_task(predictor.api(SCOPE, each.receive, each.send)) for each in clients]
    await until(paused.begun.is_set, "the first to be asked for")
    assert (await predictor.client.post("/predict", json={"x": 1})).status_code == 503, "two are all that are taken"
    for client in clients:
        client.comes(GONE)
    async with asyncio.timeout(10):
        await asyncio.gather(*asking)  # the model still predicts
    assert [client.statuses for client in clients] == [[499], [499]]
    third = Client(body(b'{"x": 1}'))
    answering = asyncio.create_task(predictor.api(SCOPE, third.receive, third.send))
    await asyncio.sleep(0)
    paused.released.set()
    await answering
    assert third.statuses == [200]
    assert await counts(predictor) == (1, 2)
    await predictor.client.aclose()
    predictor.executor.close()


async def test_who_goes_away_while_a_model_is_loaded_is_waited_for_no_longer(predictor: Predictor) -> None:
    predictor.slots.of("heart").announce(promoted(REF, "1", 1))
    asked = asyncio.Event()

    async def load(model: str) -> Any:
        asked.set()
        await asyncio.Event().wait()

    predictor.load = load  # type: ignore[method-assign]
    client = Client(body(b'{"x": 1}'))
    asking = asyncio.create_task(predictor.api(SCOPE, client.receive, client.send))
    await asked.wait()
    client.comes(GONE)
    async with asyncio.timeout(10):
        await asking
    assert client.statuses == [499]
    assert predictor.gate.inside == 0


@pytest.mark.parametrize(("rows", "on_the_loop"), [(ROWS_INLINE, True), (ROWS_INLINE + 1, False)])
async def test_long_answers_are_written_off_the_loop(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, *, on_the_loop: bool
) -> None:
    predictor.serve("heart", bundles.classifier(tmp_path, 0.25))
    threads = list[threading.Thread]()

    def noted(question: Question, champion: Champion, prediction: Prediction) -> Reply:
        threads.append(threading.current_thread())
        return reply_to(question, champion, prediction)

    monkeypatch.setattr(front, "reply_to", noted)
    answer = await predictor.client.post("/predict", json={"columns": {"x": [1] * rows}})
    assert answer.status_code == 200
    assert [thread is threading.main_thread() for thread in threads] == [on_the_loop]
