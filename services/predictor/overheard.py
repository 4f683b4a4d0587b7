"""Changes of champions as they pass: plain NATS, since FastStream takes longer over a message than a swap takes."""

from collections.abc import Awaitable, Callable
from typing import Any

from faststream import BaseMiddleware, ContextRepo
from faststream.message import StreamMessage
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.predictor.follower import Follower
from shared.errors import EventError
from shared.events import ModelPromoted, ModelWithdrawn, parse
from shared.telemetry import logger

log = logger(__name__)


class Overheard:
    """Follows what passes, at most once; the stream has all of it, a moment later and in order.

    The registry has committed a change by the time that it passes, and generations say what is news.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._last: dict[str, bytes] = {}

    async def listen(self, client: Client) -> None:
        """Hear what passes from now on."""
        for kind in (ModelPromoted, ModelWithdrawn):
            await client.subscribe(kind.all_subjects(), cb=self._hear)
        await client.flush()  # the server knows

    def is_copy(self, subject: str, data: bytes) -> bool:
        """Tell, once, whether this is what passed last on a subject, and was handed to the follower."""
        if self._last.get(subject) != data:
            return False
        del self._last[subject]  # whatever comes again is read, and no news
        return True

    async def _hear(self, message: Msg) -> None:
        try:
            model, change = parse(message.subject, message.data)
            if isinstance(change, ModelPromoted | ModelWithdrawn):
                self._follower.follow(model, change)
                self._last[message.subject] = message.data
        except EventError as error:
            log.debug("malformed, as who reads the stream says, too", subject=message.subject, error=str(error))
        except Exception:  # nobody else would say so
            log.exception("a change that was overheard was not followed at once", subject=message.subject)


class OnlyNews(BaseMiddleware):
    """Acknowledges the stream's copy of what was overheard, unread: to read it takes as long as some requests."""

    def __init__(self, overheard: Overheard, message: Any, /, *, context: ContextRepo) -> None:
        super().__init__(message, context=context)
        self._overheard = overheard

    async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: StreamMessage[Any]) -> Any:
        """Handle a message unless it was followed as it passed."""
        if self._overheard.is_copy(msg.raw_message.subject, msg.raw_message.data):
            return await msg.ack()
        return await call_next(msg)
