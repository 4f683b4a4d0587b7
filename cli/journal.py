"""A journal of what the bus said since it was opened, and waiting for something to be said."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from shared.bus import NatsBus
from shared.errors import UnreachableError
from shared.event import Event, Stream
from shared.follow import Received, follow, last_sequence
from shared.tasks import end

Found = TypeVar("Found")


class Journal:
    """Every event of a stream about one model, in the order in which it came."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.events: list[Event] = []
        self._news = asyncio.Condition()

    def of(self, kind: type[Found]) -> list[Found]:
        """Return the events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, look: Callable[[], Found | None], what: str, deadline_s: float = 120.0) -> Found:
        """Wait until `look` finds something; raise `UnreachableError` naming what was waited for."""
        try:
            async with asyncio.timeout(deadline_s), self._news:
                while (found := look()) is None:
                    await self._news.wait()
                return found
        except TimeoutError as error:
            raise UnreachableError(f"waited {deadline_s:.0f} s in vain for {what}: see `baton logs`") from error

    async def record(self, bus: NatsBus, stream: Stream, after: int) -> None:
        """Write down a stream's events for ever."""
        async for received in follow(bus, stream, [">"], after):
            await self._note(received)

    async def _note(self, received: Received) -> None:
        if received.model == self.model:
            async with self._news:
                self.events.append(received.event)
                self._news.notify_all()


@asynccontextmanager
async def keeping_journal(bus: NatsBus, model: str) -> AsyncIterator[Journal]:
    """Keep a journal of a model's lifecycle and champions from now on."""
    journal = Journal(model)
    starts = {stream: await last_sequence(bus.js, stream) for stream in (Stream.LIFECYCLE, Stream.CHAMPIONS)}
    writers = [asyncio.create_task(journal.record(bus, stream, after)) for stream, after in starts.items()]
    try:
        yield journal
    finally:
        await end(writers)
