"""What every service is built from: a FastStream broker that consumes, and its description for subscribers."""

import asyncio
import logging
import os
import signal
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any

import uvicorn
from faststream.nats import NatsBroker
from faststream.specification import AsyncAPI, Specification
from faststream.specification.asyncapi import get_asyncapi_html
from nats.errors import Error as NatsError

from shared.denials import Denials
from shared.event import Event
from shared.settings import ServiceSettings
from shared.telemetry import logger

CANCELLED_S = 0.5

log = logger(__name__)


def make_broker(settings: ServiceSettings, name: str) -> NatsBroker:
    """Return the broker that a service subscribes with; it reconnects for ever."""
    return NatsBroker(
        settings.nats_url,
        name=name,
        max_reconnect_attempts=-1,
        reconnect_time_wait=1,
        connect_timeout=5,
        error_cb=Denials().hear,
        logger=logging.getLogger("faststream"),
        log_level=logging.DEBUG,  # a line per message is too much; errors are logged as errors all the same
        description="NATS JetStream",
    )


async def stop_broker(broker: NatsBroker) -> None:
    """Stop consuming; a server that is away cannot be taken leave of."""
    with suppress(NatsError):
        await broker.stop()


def end_on_failure(task: "asyncio.Task[None]") -> None:
    """End the process when a task that it lives for died of something unforeseen: whoever started it starts another."""
    if not task.cancelled() and (error := task.exception()):
        log.critical("ending, for something that nobody foresaw", exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)


async def end(tasks: "Collection[asyncio.Task[None]]") -> None:
    """Cancel tasks and wait for them, again and again: before Python 3.12, nats-py's `wait_for` can swallow one."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCELLED_S)


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


def serve(app: Any, settings: ServiceSettings, port: int) -> None:
    """Run an ASGI application until SIGTERM or SIGINT."""
    uvicorn.run(app, host=settings.host, port=port, log_config=None, access_log=False)
