"""Commands given over HTTP: published on the bus like anybody's, and waited for."""

import uuid
from contextlib import aclosing
from dataclasses import dataclass

from nats.errors import Error as NatsError

from shared.bus import NatsBus
from shared.errors import UnreachableError
from shared.event import Stream
from shared.events import PromotionDecided, PromotionRequested
from shared.follow import follow, last_sequence
from shared.tasks import within

PATIENCE_S = 5.0


@dataclass(frozen=True)
class Answer:
    """The id that a command goes by, and the decision on it if there was one in time."""

    request_id: str
    decided: PromotionDecided | None


class Commands:
    """Gives commands to whichever promoter takes them, this one or another."""

    def __init__(self, bus: NatsBus, patience_s: float = PATIENCE_S) -> None:
        self._bus = bus
        self._patience_s = patience_s

    async def give(self, model: str, command: PromotionRequested) -> Answer:
        """Publish a command and wait some seconds for the decision; raise `UnreachableError` if NATS is away."""
        request_id = str(uuid.uuid4())
        try:
            after = await last_sequence(self._bus.js, Stream.LIFECYCLE)
            await self._bus.publish(command, model, event_id=request_id)
        except (NatsError, OSError) as error:
            raise UnreachableError(f"NATS did not take the command: {error}") from error
        try:
            return Answer(request_id, await within(self._patience_s, self._decision(model, request_id, after)))
        except TimeoutError:
            return Answer(request_id, None)

    async def _decision(self, model: str, request_id: str, after: int) -> PromotionDecided | None:
        events = follow(self._bus, Stream.LIFECYCLE, [PromotionDecided.subject(model)], after)
        async with aclosing(events):
            async for received in events:
                if isinstance(received.event, PromotionDecided) and received.event.request_id == request_id:
                    return received.event
        return None
