"""Following a stream misses nothing and repeats nothing, also when the server forgets the consumer."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from shared.bus import NatsBus
from shared.event import Stream
from shared.events import RunProgress
from shared.follow import Received, follow, last_sequence
from shared.settings import BusSettings
from shared.streams import declare_when_reachable


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[NatsBus]:
    async with NatsBus(BusSettings(nats_url=nats_url), "test") as bus:
        await declare_when_reachable(bus.js, 1)
        yield bus


async def say(bus: NatsBus, model: str, steps: range) -> None:
    for step in steps:
        await bus.publish(RunProgress(request_id="r", step=step, of=9, message=""), model)


async def hear(events: AsyncIterator[Received], count: int) -> list[int]:
    heard: list[int] = []
    async with asyncio.timeout(30):
        async for received in events:
            assert isinstance(received.event, RunProgress)
            heard.append(received.event.step)
            if len(heard) == count:
                break
    return heard


async def test_only_what_comes_after_is_heard_in_order(bus: NatsBus) -> None:
    model = str(uuid.uuid4())
    await say(bus, model, range(2))
    after = await last_sequence(bus.js, Stream.LIFECYCLE)
    await say(bus, model, range(2, 5))
    events = follow(bus, Stream.LIFECYCLE, [RunProgress.subject(model)], after)
    assert await hear(events, 3) == [2, 3, 4]


async def test_a_forgotten_consumer_is_made_anew_where_it_was(bus: NatsBus) -> None:
    model = str(uuid.uuid4())
    before = {info.name for info in await bus.js.consumers_info(Stream.LIFECYCLE)}
    after = await last_sequence(bus.js, Stream.LIFECYCLE)
    events = follow(bus, Stream.LIFECYCLE, [RunProgress.subject(model)], after)
    await say(bus, model, range(2))
    assert await hear(events, 2) == [0, 1]
    (consumer,) = {info.name for info in await bus.js.consumers_info(Stream.LIFECYCLE)} - before
    await bus.js.delete_consumer(Stream.LIFECYCLE, consumer)
    await say(bus, model, range(2, 4))
    assert await hear(events, 2) == [2, 3]


async def test_following_ends_with_the_bus(nats_url: str) -> None:
    bus = NatsBus(BusSettings(nats_url=nats_url), "test")
    await bus.open()
    await declare_when_reachable(bus.js, 1)
    await bus.close()
    async with asyncio.timeout(10):
        assert [received async for received in follow(bus, Stream.LIFECYCLE, [">"], 0)] == []
