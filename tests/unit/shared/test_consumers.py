"""Keeping consumers alive, where a server is away."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faststream.nats.subscriber.usecases import PullStreamSubscriber

from shared import consumers
from shared.tasks import end


class Stranded:
    """A subscriber whose consumer is on a server that is away; `answers` says whether it can subscribe anew."""

    def __init__(self, *, answers: bool) -> None:
        self.config = SimpleNamespace(durable_name=None)
        self.connection = SimpleNamespace(is_connected=True)
        self.stream = SimpleNamespace(name="CHAMPIONS")
        self.subscription: Any = SimpleNamespace(consumer_info=asyncio.Event().wait)
        self.is_anew = asyncio.Event()
        self._answers = answers

    async def stop(self) -> None:
        self.subscription = None

    async def start(self) -> None:
        if not self._answers:
            await asyncio.Event().wait()
        self.is_anew.set()


async def test_a_consumer_that_cannot_be_made_anew_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "ANSWER_S", 0.01)
    first, second = Stranded(answers=False), Stranded(answers=True)
    keeping = asyncio.create_task(consumers.keep_alive(cast("list[PullStreamSubscriber]", [first, second]), 0.01))
    try:
        async with asyncio.timeout(10):
            await second.is_anew.wait()
    finally:
        await end([keeping])


async def test_keeping_ends_also_where_an_answer_comes_as_it_is_cancelled() -> None:
    """Python before 3.12 then takes the answer and forgets the cancel; a promoter did not stop for it."""
    asked: list[asyncio.Future[None]] = []
    subscriber = Stranded(answers=True)

    async def consumer_info() -> None:
        asked.append(asyncio.get_running_loop().create_future())
        await asyncio.wait_for(asked[-1], 60)

    subscriber.subscription = SimpleNamespace(consumer_info=consumer_info)
    keeping = asyncio.create_task(consumers.keep_alive(cast("list[PullStreamSubscriber]", [subscriber]), 0.01))
    async with asyncio.timeout(10):
        while not asked:
            await asyncio.sleep(0)
        asked[0].set_result(None)
        await end([keeping])
    assert keeping.cancelled()
