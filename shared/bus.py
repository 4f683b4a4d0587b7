"""The bus: publishing events, storing bundles and keeping request states, as one small interface.

`Bus` is what the services and the command line ask for. `NatsBus` is the real thing over one NATS connection;
`shared/fakes.py` holds the in-memory one, and `tests/contract` runs the same scenarios over both.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, Self

from nats.errors import Error as NatsError
from nats.js.api import ObjectInfo
from nats.js.errors import APIError, KeyNotFoundError, NotFoundError
from pydantic import BaseModel, ConfigDict

from shared import cloudevents, objects
from shared.denials import Denials
from shared.errors import (
    BundleError,
    EventError,
    ForbiddenError,
    PromotionConflictError,
    UnreachableError,
    UntrustedError,
)
from shared.event import Event
from shared.events import BundleRef, RunFailed, RunFinished, parse
from shared.patience import patiently
from shared.settings import BusSettings, without_password
from shared.stored import sequence_of
from shared.streams import MODELS, REQUESTS
from shared.tls import EncryptedClient, nats_context

EXPECTED_LAST = "Nats-Expected-Last-Subject-Sequence"
# JetStream's error codes for an expectation that does not hold, the second where another message is on its way.
WRONG_LAST_SEQUENCE = {10071, 10164}
DOWNLOAD_DEADLINE_S = 300.0

Pause = Callable[[], Awaitable[None]]


async def no_pause() -> None:
    """Go on at once."""


@dataclass(frozen=True)
class Published:
    """The bus's receipt: the event's sequence in its stream, and whether it had been stored before."""

    sequence: int
    duplicate: bool


class RequestState(BaseModel):
    """What is known of a train request; kept in the bucket `REQUESTS` under its id.

    `outcome` is the event that ends it, kept before it is published: whoever takes over says the same.
    """

    model_config = ConfigDict(frozen=True)

    state: Literal["started", "finished", "failed", "cancelled"]
    model: str
    attempts: int = 0
    message: str = ""
    outcome: RunFinished | RunFailed | None = None


class Bus(Protocol):
    """What Baton asks of a bus."""

    async def publish(
        self,
        event: Event,
        model: str,
        *,
        event_id: str | None = None,
        expected_last: int | None = None,
        again: bool = False,
        pause: Pause = no_pause,
    ) -> Published:
        """Store an event once per `event_id`.

        With `expected_last` the event is stored only if that is the sequence of the last event on its subject
        (0: there is none), else `PromotionConflictError`.

        Ids are remembered for an hour or so. Who takes over from somebody that may have published longer ago says
        `again`: then the event is looked for in the stream first.

        `pause` is awaited between what it takes to make a message and what it takes to send one.
        """

    async def last(self, kind: type[Event], model: str) -> tuple[int, Event] | None:
        """Return sequence and data of the last event of a kind for a model."""

    async def put_bundle(self, archive: Path, digest: str) -> BundleRef:
        """Store a bundle's archive under its digest; storing it again changes nothing."""

    async def fetch_bundle(self, ref: BundleRef, destination: Path) -> None:
        """Write a stored archive to a file; raise `BundleError` (`download`) if it cannot be had."""

    async def delete_bundle(self, digest: str) -> None:
        """Delete a stored archive; one that is not there is no error."""

    async def request_state(self, request_id: str) -> RequestState | None:
        """Return what is known of a train request."""

    async def set_request_state(self, request_id: str, state: RequestState) -> None:
        """Remember what is known of a train request."""


def object_name(digest: str) -> str:
    """Return the name under which a bundle is stored."""
    return digest.replace(":", "-")


class NatsBus:
    """The bus over NATS JetStream, on a connection of its own; `source` names the publisher in every event.

    Use it as an async context manager, or `open` and `close` it.
    """

    def __init__(self, settings: BusSettings, source: str) -> None:
        self.settings = settings
        self.client = EncryptedClient()
        self.js = self.client.jetstream(timeout=5)
        self._source = source
        self._tls = nats_context(settings)
        self._denials = Denials()

    async def open(self, deadline_s: float = 5.0) -> None:
        """Connect; once connected, never give up. Raise `UnreachableError` if nobody answers within the deadline."""
        try:
            async with asyncio.timeout(deadline_s):
                await self.client.connect(
                    self.settings.nats_servers,
                    name=self._source,
                    inbox_prefix=self.settings.nats_inbox,
                    tls=self._tls,
                    tls_handshake_first=self.settings.nats_tls_first and self._tls is not None,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=1,
                    error_cb=self._denials.hear,
                )
        except (OSError, NatsError, TimeoutError) as error:
            address = without_password(self.settings.nats_url)
            if self._denials.is_stranger:
                raise ForbiddenError(
                    f"NATS at {address} does not know this user or password: see BATON_NATS_URL"
                ) from error
            if self._denials.distrust:
                raise UntrustedError(
                    f"NATS at {address} is not trusted ({self._denials.distrust}): see BATON_NATS_TLS_CA, the name in "
                    "BATON_NATS_URL, and BATON_NATS_TLS_CERT if NATS asks for one"
                ) from error
            raise UnreachableError(
                f"no NATS server answers at {address}: start one with `baton up` or set BATON_NATS_URL"
            ) from error

    async def close(self) -> None:
        """Close the connection."""
        await self.client.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def publish(
        self,
        event: Event,
        model: str,
        *,
        event_id: str | None = None,
        expected_last: int | None = None,
        again: bool = False,
        pause: Pause = no_pause,
    ) -> Published:
        """Store an event; a publish that times out is repeated under the same id until it is acknowledged."""
        headers = cloudevents.headers(event.type, source=self._source, model=model, event_id=event_id)
        if expected_last is not None:
            headers[EXPECTED_LAST] = str(expected_last)
        subject, body = event.subject(model), event.model_dump_json().encode()
        await pause()
        if event.stream is None:
            await self.client.publish(subject, body, headers=headers)
            return Published(0, duplicate=False)

        async def attempt() -> Published:
            self._denials.check(subject)
            if again and (found := await sequence_of(self.js, str(event.stream), subject, event_id or "")):
                return Published(found, duplicate=True)
            ack = await self.js.publish(subject, body, stream=event.stream, headers=headers)
            return Published(ack.seq, bool(ack.duplicate))

        try:
            return await patiently(attempt, f"{event.type} could not be published")
        except APIError as error:
            if error.err_code in WRONG_LAST_SEQUENCE:
                raise PromotionConflictError(f"{subject} has moved past sequence {expected_last}") from error
            raise EventError(f"{subject} was refused by the stream {event.stream}: {error.description}") from error

    async def last(self, kind: type[Event], model: str) -> tuple[int, Event] | None:
        """Read the last event on a subject straight from its stream."""
        subject = kind.subject(model)
        try:
            message = await patiently(
                lambda: self.js.get_last_msg(str(kind.stream), subject), f"the last {subject} could not be read"
            )
        except NotFoundError:
            return None
        return message.seq or 0, parse(subject, message.data or b"")[1]

    async def put_bundle(self, archive: Path, digest: str) -> BundleRef:
        """Upload an archive unless the store already has it."""
        name = object_name(digest)

        async def attempt() -> BundleRef:
            try:
                info = await self._object(name)
            except NotFoundError:
                store = await self.js.object_store(MODELS)
                with archive.open("rb") as file:
                    info = await store.put(name, file)
            return BundleRef(object=name, digest=digest, size=info.size or 0)

        return await patiently(attempt, f"bundle {name} could not be stored")

    async def fetch_bundle(self, ref: BundleRef, destination: Path) -> None:
        """Download an archive in chunks, and check the object store's own digest on the way."""
        try:
            async with asyncio.timeout(DOWNLOAD_DEADLINE_S):
                info = await patiently(partial(self._object, ref.object), f"bundle {ref.object} could not be looked up")
                with destination.open("wb") as file:
                    await objects.download(self.client, MODELS, info, file)
        except (NatsError, OSError, UnreachableError) as error:
            await asyncio.to_thread(destination.unlink, missing_ok=True)
            raise BundleError(f"bundle {ref.object} cannot be downloaded: {error!r}", "download") from error

    async def delete_bundle(self, digest: str) -> None:
        """Delete an archive with its chunks."""
        name = object_name(digest)

        async def attempt() -> None:
            store = await self.js.object_store(MODELS)
            with suppress(NotFoundError):
                await store.delete(name)

        await patiently(attempt, f"bundle {name} could not be deleted")

    async def request_state(self, request_id: str) -> RequestState | None:
        """Read a request's state from its bucket."""

        async def attempt() -> RequestState | None:
            bucket = await self.js.key_value(REQUESTS)
            try:
                entry = await bucket.get(request_id)
            except KeyNotFoundError:
                return None
            return RequestState.model_validate_json(entry.value or b"{}")

        return await patiently(attempt, f"the state of request {request_id} could not be read")

    async def set_request_state(self, request_id: str, state: RequestState) -> None:
        """Write a request's state to its bucket."""

        async def attempt() -> None:
            bucket = await self.js.key_value(REQUESTS)
            await bucket.put(request_id, state.model_dump_json().encode())

        await patiently(attempt, f"the state of request {request_id} could not be written")

    async def _object(self, name: str) -> ObjectInfo:
        store = await self.js.object_store(MODELS)
        return await store.get_info(name)
