"""What every service is built from: a FastStream broker that consumes, and its description for subscribers."""

import asyncio
import logging
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import uvicorn
from faststream.nats import NatsBroker
from faststream.nats.security import NatsSecurity
from faststream.specification import AsyncAPI, Specification
from faststream.specification.asyncapi import get_asyncapi_html
from nats.errors import Error as NatsError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.denials import Denials
from shared.errors import BatonError
from shared.event import Event
from shared.memory import exempt_loaded
from shared.settings import ServiceSettings
from shared.telemetry import logger
from shared.tls import nats_context

log = logger(__name__)


def make_broker(settings: ServiceSettings, name: str) -> NatsBroker:
    """Return the broker that a service subscribes with; it reconnects for ever."""
    tls = nats_context(settings)
    return NatsBroker(
        settings.nats_servers,
        name=name,
        inbox_prefix=settings.nats_inbox,
        security=NatsSecurity(ssl_context=tls, tls_handshake_first=settings.nats_tls_first) if tls else None,
        max_reconnect_attempts=-1,
        reconnect_time_wait=1,
        connect_timeout=5,
        error_cb=Denials().hear,
        logger=logging.getLogger("faststream"),
        log_level=logging.DEBUG,  # a line per message is too much; errors are logged as errors all the same
        description="NATS JetStream",
    )


async def start_broker(broker: NatsBroker) -> None:
    """Begin to consume; when this returns, the server knows of every subscription, and what is said then is heard."""
    await broker.start()
    with suppress(NatsError):  # a server that went away is told again when it is back
        await broker.connection.flush()


async def stop_broker(broker: NatsBroker) -> None:
    """Stop consuming; a server that is away cannot be taken leave of."""
    with suppress(NatsError):
        await broker.stop()


def end_on_failure(task: "asyncio.Task[None]") -> None:
    """End the process when a task that it lives for died of something unforeseen: whoever started it starts another."""
    if not task.cancelled() and (error := task.exception()):
        log.critical("ending, for something that nobody foresaw", exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)


def document_publishes(broker: NatsBroker, events: Iterable[type[Event]]) -> None:
    """Tell AsyncAPI which events a service publishes (through its `Bus`)."""
    for event in events:
        broker.publisher(
            event.type if event.subject("") == event.type else f"{event.type}.{{model}}",
            schema=event,
            title=event.type,
            description=(event.__doc__ or "").strip(),
        )


def asyncapi(broker: NatsBroker, title: str, description: str) -> Specification:
    """Return the AsyncAPI document of a service."""
    return AsyncAPI(broker, title=title, version="1.0.0", description=description).to_specification()


def asyncapi_page(broker: NatsBroker, title: str, description: str) -> str:
    """Return the AsyncAPI document of a service as a page to browse."""
    return get_asyncapi_html(asyncapi(broker, title, description))


class PlainStart:
    """An ASGI application that says in one sentence, without a traceback, why it cannot start if that was foreseen."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on to the application; keep the news that it failed, which is a traceback, until the reason is known."""
        failure: Message = {}

        async def hear(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                failure.update(message)
            else:
                await send(message)

        try:
            await self._app(scope, receive, hear)
        except BaseException as error:
            if failure:
                foreseen = {"message": str(error)} if isinstance(error, BatonError) else {}
                await send({**failure, **foreseen})
            raise


def serve(app: Any, settings: ServiceSettings, port: int) -> None:
    """Run an ASGI application until SIGTERM or SIGINT; what is loaded by now is exempt from garbage collections."""
    exempt_loaded()
    uvicorn.run(PlainStart(app), host=settings.host, port=port, log_config=None, access_log=False)
