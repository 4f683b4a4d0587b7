"""Somebody who overhears a stream's events does not answer in JetStream's place."""

import asyncio
import uuid

from faststream.nats import NatsBroker

from shared.bus import NatsBus
from shared.delivery import overhear
from shared.events import RunProgress
from shared.settings import BusSettings
from shared.streams import declare_when_reachable

EVENTS = 200


async def test_every_publish_gets_jetstreams_acknowledgement(nats_url: str) -> None:
    model, heard = str(uuid.uuid4()), asyncio.Semaphore(0)

    async def hear(event: RunProgress) -> None:
        heard.release()

    broker = NatsBroker(nats_url, logger=None)
    overhear(broker, RunProgress.subject(model), hear)
    async with NatsBus(BusSettings(nats_url=nats_url), "test") as bus, broker:
        await declare_when_reachable(bus.js, 1)
        await broker.start()
        await (await broker.connect()).flush()  # the server knows the subscription
        event = RunProgress(request_id="r", step=1, of=1, message="")
        receipts = [await bus.publish(event, model) for _ in range(EVENTS)]
        async with asyncio.timeout(30):
            await heard.acquire()  # at most once: that some were heard is all that can be promised
    sequences = [receipt.sequence for receipt in receipts]
    assert sequences == sorted(set(sequences))
