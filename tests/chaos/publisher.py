"""A publisher that never pauses, and knows afterwards what of it was acknowledged and is not there."""

import asyncio
import time
import uuid
from collections import Counter

from shared.bus import NatsBus
from shared.errors import UnreachableError
from shared.event import Stream
from shared.events import RunProgress
from tests.chaos.reading import stored

PAUSE_S = 0.02


class Publisher:
    """Publishes facts about a model that nobody acts on; `longest_s` is the longest that one waited to be stored."""

    def __init__(self, bus: NatsBus, model: str) -> None:
        self.acknowledged: list[str] = []
        self.longest_s = 0.0
        self._bus = bus
        self._model = model

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            identity, began = str(uuid.uuid4()), time.monotonic()
            event = RunProgress(request_id=identity, step=1, of=1, message="")
            try:
                await self._bus.publish(event, self._model, event_id=identity)
            except UnreachableError:
                continue  # nobody acknowledged it, and the attempts took their time
            finally:
                self.longest_s = max(self.longest_s, time.monotonic() - began)
            self.acknowledged.append(identity)
            await asyncio.sleep(PAUSE_S)

    async def faults(self) -> list[str]:
        """Return a sentence for each fact that was acknowledged and is not in the stream once."""
        found = Counter(event.id for event in await stored(self._bus.js, Stream.LIFECYCLE, [self.subject]))
        return [
            f"event {identity} was acknowledged and is stored {found[identity]} times"
            for identity in self.acknowledged
            if found[identity] != 1
        ]

    @property
    def subject(self) -> str:
        """Return what it publishes on."""
        return RunProgress.subject(self._model)
