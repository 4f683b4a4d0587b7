"""Following a stream from outside a service: every event in order, across restarts of the server."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass

from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from shared.bus import NatsBus
from shared.event import Event, Stream
from shared.events import parse

FETCH_S = 1.0
RETRY_S = 0.25
FORGET_AFTER_S = 30.0


@dataclass(frozen=True)
class Received:
    """One event as it was stored: the model it is about, its data, its sequence in the stream."""

    model: str
    event: Event
    sequence: int


async def follow(bus: NatsBus, stream: Stream, subjects: list[str], after: int) -> AsyncGenerator[Received]:
    """Yield every event on the subjects with a sequence greater than `after`, until the bus is closed.

    The consumer is made anew from the last sequence seen whenever the server lost it, so nothing is missed or repeated.
    """
    while not bus.client.is_closed:
        try:
            async for received in _consume(bus.js, stream, subjects, after):
                after = received.sequence
                yield received
        except (NatsError, OSError):  # the server is away or forgot the consumer: begin again where we were
            await asyncio.sleep(RETRY_S)


async def _consume(js: JetStreamContext, stream: Stream, subjects: list[str], after: int) -> AsyncGenerator[Received]:
    config = ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=after + 1,
        filter_subjects=subjects,
        ack_policy=AckPolicy.NONE,
        inactive_threshold=FORGET_AFTER_S,
    )
    info = await js.add_consumer(stream, config)
    consumer = await js.pull_subscribe_bind(info.name, stream)
    try:
        while True:
            try:
                (message,) = await consumer.fetch(1, timeout=FETCH_S)  # a larger batch would wait to be filled
            except NatsTimeoutError:
                await js.consumer_info(stream, info.name)  # raises when the server no longer knows the consumer
                continue
            model, event = parse(message.subject, message.data)
            yield Received(model, event, message.metadata.sequence.stream)
    finally:
        with suppress(NatsError, OSError):
            await consumer.unsubscribe()


async def last_sequence(js: JetStreamContext, stream: Stream) -> int:
    """Return the sequence of the newest event of a stream: `follow(after=...)` it to see only what comes."""
    return (await js.stream_info(stream)).state.last_seq
