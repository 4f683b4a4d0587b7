"""Courtesy: requests go first, between the steps in which a message is read, checked and handled."""

import asyncio
from unittest.mock import Mock

from faststream.nats import NatsBroker, TestNatsBroker

from services.predictor.courtesy import GiveWay
from services.predictor.handlers import subscribe


async def test_what_waits_goes_before_a_message_is_read_and_before_it_is_handled() -> None:
    done: list[str] = []
    broker = NatsBroker(middlewares=[GiveWay])

    def requests(left: int) -> None:
        done.append("request")
        if left > 1:
            asyncio.get_running_loop().call_soon(requests, left - 1)

    @broker.subscriber("subject")
    async def handle(text: str) -> None:
        done.append(text)

    async with TestNatsBroker(broker):
        asyncio.get_running_loop().call_soon(requests, 2)
        await broker.publish("message", "subject")
    assert done == ["request", "request", "message"]


def test_what_a_worker_subscribes_to_gives_way() -> None:
    broker = NatsBroker()
    subscribe(broker, Mock(), Mock(), Mock())
    assert GiveWay in broker.middlewares
