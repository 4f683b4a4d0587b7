"""At-least-once delivery: when a message of a stream is acknowledged, delivered again, or dropped.

FastStream's default ends a message on the first error; here it ends when it was handled, or can never be.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote

from faststream import BaseMiddleware
from faststream.message import StreamMessage
from faststream.nats import NatsBroker, NatsRouter
from faststream.nats.message import NatsMessage
from nats.errors import Error as NatsError

from shared import cloudevents
from shared.errors import BatonError, EventError
from shared.event import Event, model_name
from shared.events import PromotionRequested, TrainRequested, parse
from shared.telemetry import about, logger

ACK_WAIT_S = 15.0  # how soon another replica takes over from one that died
IN_PROGRESS_S = 5.0
LONGEST_DELAY_S = 30.0
LONGEST_ID = 200
OWN_INBOX: Any = None  # of a pull subscriber: its connection's, where FastStream would take the one of all clients

Read = Event | EventError
OnMalformed = Callable[[NatsMessage, EventError], Awaitable[None]]

log = logger(__name__)


class Acknowledge(BaseMiddleware):
    """Acknowledges what was handled, drops what is malformed, and has everything else delivered again later.

    While a handler works, the server is told so.
    """

    async def on_malformed(self, msg: NatsMessage, error: EventError) -> None:
        """Hear of a message before it is dropped."""

    async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: StreamMessage[Any]) -> Any:
        """Handle one message of a stream."""
        assert isinstance(msg, NatsMessage)  # nosec B101 # noqa: S101 - the broker is NATS's own
        event = _read(msg)  # here, lest an error of the handler be taken for one of its message
        with about(model_name(subject(msg)), event, **_asked_by(msg, event)):
            await self._settle(call_next, msg, event)

    async def _settle(self, call_next: Callable[[Any], Awaitable[Any]], msg: NatsMessage, event: Read) -> None:
        try:
            async with _in_progress(msg):
                await self._handle(call_next, msg, event)
        except Exception as error:  # whatever failed: the event must not be lost
            delay = min(2.0 ** (deliveries(msg) - 1), LONGEST_DELAY_S)
            expected = isinstance(error, BatonError)
            log.warning(
                "delivered again later", subject=subject(msg), delay_s=delay, error=str(error), exc_info=not expected
            )
            await msg.nack(delay=delay)
        else:
            await msg.ack()

    async def _handle(self, call_next: Callable[[Any], Awaitable[Any]], msg: NatsMessage, event: Read) -> None:
        if isinstance(event, EventError):
            log.warning("malformed event is dropped", subject=subject(msg), error=str(event))
            await self.on_malformed(msg, event)
        else:
            await call_next(msg)


def _read(msg: NatsMessage) -> Read:
    try:
        return parse(subject(msg), msg.raw_message.data)[1]
    except EventError as error:
        return error


def _asked_by(msg: NatsMessage, event: Read) -> dict[str, str]:
    """Return the request's id where a message is a command that names none: it goes by its own."""
    asks = isinstance(event, TrainRequested | PromotionRequested)
    return {"request_id": as_key(source_event(msg))} if asks and not getattr(event, "request_id", None) else {}


def acknowledging(on_malformed: OnMalformed) -> type[Acknowledge]:
    """Return the middleware with somebody who hears of a malformed message before it is dropped."""
    return type("Acknowledging", (Acknowledge,), {"on_malformed": staticmethod(on_malformed)})


def overhear(
    registrator: NatsBroker | NatsRouter, address: str, handler: Callable[..., Awaitable[None]], **options: Any
) -> None:
    """Hear events as they pass, at most once, beside the stream that keeps them.

    Never with a reply: the publisher waits for JetStream's acknowledgement, and would take FastStream's answer for it.
    """
    registrator.subscriber(address, no_reply=True, **options)(handler)


@asynccontextmanager
async def _in_progress(msg: NatsMessage) -> AsyncIterator[None]:
    async def say_so() -> None:
        while True:
            await asyncio.sleep(IN_PROGRESS_S)
            with suppress(NatsError):  # a server that is away: the next one will do
                await msg.in_progress()

    saying = asyncio.create_task(say_so())
    try:
        yield
    finally:
        saying.cancel()


def subject(msg: NatsMessage) -> str:
    """Return the subject that a message came on."""
    return str(msg.raw_message.subject)


def is_of(kind: type[Event]) -> Callable[[NatsMessage], Awaitable[bool]]:
    """Return a filter for events of a kind, by their subject: a malformed one must not be taken for another's."""

    async def is_of_kind(msg: NatsMessage) -> bool:
        return subject(msg).startswith(f"{kind.type}.")

    return is_of_kind


def deliveries(msg: NatsMessage) -> int:
    """Return how often a message was delivered, this time included."""
    return int(msg.raw_message.metadata.num_delivered)


def source_event(msg: NatsMessage) -> str:
    """Return the id of the event, or where it stands in its stream if it was published by hand without one."""
    metadata = msg.raw_message.metadata
    return cloudevents.event_id(msg.raw_message.headers) or f"{metadata.stream}-{metadata.sequence.stream}"


def as_key(event_id: str) -> str:
    """Return an event's id as a key, which takes letters, digits, `-`, `_` and `=` only; a UUID stays as it is."""
    key = quote(event_id, safe="").replace("%", "=").replace(".", "=2E").replace("~", "=7E")
    return key if len(key) <= LONGEST_ID else hashlib.sha256(event_id.encode()).hexdigest()
