"""Somebody who overhears a stream's events does not answer in JetStream's place."""

import asyncio
import uuid

import pytest
from faststream.nats import NatsBroker

from shared.bus import NatsBus
from shared.delivery import overhear
from shared.events import RunProgress
from shared.settings import BusSettings
from shared.streams import declare_when_reachable

EVENTS = 200


async def test_every_publish_gets_jetstreams_acknowledgement(nats_url: str) -> None:
    model, heard, all_heard = str(uuid.uuid4()), 0, asyncio.Event()

    async def hear(event: RunProgress) -> None:
        nonlocal heard
        heard += 1
        if heard == EVENTS:
            all_heard.set()

    broker = NatsBroker(nats_url, logger=None)
    overhear(broker, RunProgress.subject(model), hear)
    async with NatsBus(BusSettings(nats_url=nats_url), "test") as bus, broker:
        await declare_when_reachable(bus.js, 1)
        await broker.start()
        connection = await broker.connect()
        await connection.flush()  # the server knows the subscription
        event = RunProgress(request_id="r", step=1, of=1, message="")
        receipts = [await bus.publish(event, model) for _ in range(EVENTS)]
        try:
            async with asyncio.timeout(30):
                await all_heard.wait()
        except TimeoutError:
            pytest.fail(f"{heard} of {EVENTS} events were heard; the connection's statistics: {connection.stats}")
    sequences = [receipt.sequence for receipt in receipts]
    assert sequences == sorted(set(sequences))
