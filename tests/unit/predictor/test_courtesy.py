"""Courtesy: requests go first, between the steps in which a message is read, checked and handled."""

import asyncio
from functools import partial
from time import monotonic
from unittest.mock import Mock

import pytest
from faststream.nats import NatsBroker, TestNatsBroker

from services.predictor import courtesy
from services.predictor.courtesy import MANY_S, REST_S, GiveWay, Pace
from services.predictor.handlers import subscribe


async def test_requests_that_come_within_a_rest_go_before_each_step() -> None:
    done: list[str] = []
    broker = NatsBroker(middlewares=[partial(GiveWay, Pace())])

    @broker.subscriber("subject")
    async def handle(text: str) -> None:
        done.append(text)

    async with TestNatsBroker(broker):
        for rests in (0.5, 1.5):
            asyncio.get_running_loop().call_later(rests * REST_S, done.append, "request")
        began = monotonic()
        await broker.publish("message", "subject")
    assert done == ["request", "request", "message"]
    assert monotonic() - began >= 2 * REST_S * 0.9, "one rest before it is read, one before it is handled"


async def test_of_many_messages_only_the_first_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(courtesy, "monotonic", lambda: now)
    broker, rests = NatsBroker(middlewares=[partial(GiveWay, pace := Pace())]), list[float]()

    @broker.subscriber("subject")
    async def handle(_: str) -> None:
        rests.append(pace.rest_s())

    async with TestNatsBroker(broker):
        for _ in range(3):
            await broker.publish("message", "subject")
            now += MANY_S / 2
    assert rests == [REST_S, 0, 0], "while the first is handled, none was handled yet"
    now += MANY_S
    assert pace.rest_s() == REST_S


def test_what_a_worker_subscribes_to_gives_way() -> None:
    broker = NatsBroker()
    subscribe(broker, Mock(), Mock(), slots=Mock(), overheard=Mock())
    assert any(getattr(middleware, "func", None) is GiveWay for middleware in broker.middlewares)
