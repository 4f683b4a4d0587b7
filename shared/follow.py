"""Following a stream from outside a service: every event in order, across restarts of the server."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from nats.js import JetStreamContext

from shared.bus import NatsBus
from shared.event import Event, Stream
from shared.events import parse
from shared.stored import read_on


@dataclass(frozen=True)
class Received:
    """One event as it was stored: the model it is about, its data, its sequence in the stream."""

    model: str
    event: Event
    sequence: int


async def follow(bus: NatsBus, stream: Stream, subjects: list[str], after: int) -> AsyncGenerator[Received]:
    """Yield every event on the subjects with a sequence greater than `after`, until the bus is closed."""
    async with aclosing(read_on(bus.client, stream, subjects, after)) as messages:
        async for message in messages:
            model, event = parse(message.subject, message.data)
            yield Received(model, event, message.metadata.sequence.stream)


async def last_sequence(js: JetStreamContext, stream: Stream) -> int:
    """Return the sequence of the newest event of a stream: `follow(after=...)` it to see only what comes."""
    return (await js.stream_info(stream)).state.last_seq
