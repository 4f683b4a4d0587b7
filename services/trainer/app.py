"""The trainer's composition root: settings → bus → children → handlers. Read this first."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from services.trainer.children import Children
from services.trainer.handlers import QUEUE, subscribe
from services.trainer.meters import Meters
from services.trainer.requests import Requests
from services.trainer.settings import TrainerSettings
from shared import settings as configuration
from shared.bus import NatsBus
from shared.errors import BatonError
from shared.event import Stream
from shared.events import RunFailed, RunFinished, RunProgress, RunStarted
from shared.registry import Registry
from shared.service import asyncapi_page, document_publishes, make_broker, start_broker, stop_broker
from shared.streams import prepare
from shared.telemetry import configure_logging
from shared.tracing import tracing

START_S = 60.0
QUEUE_S = 1.0  # how long a scrape waits for the queue's length


@dataclass(frozen=True)
class Trainer:
    """The parts of the service."""

    bus: NatsBus
    broker: NatsBroker
    children: Children
    meters: Meters

    async def metrics(self) -> bytes:
        """Return what Prometheus is told."""
        try:
            waiting = (await self.bus.js.consumer_info(Stream.TRAINING, QUEUE, timeout=QUEUE_S)).num_pending
        except (NatsError, BatonError):
            waiting = None
        return self.meters.exposed(waiting)


def compose(settings: TrainerSettings) -> Trainer:
    """Put the parts together; nothing is connected to yet."""
    bus = NatsBus(settings, "trainer")
    children = Children(settings.train_timeout_s)
    requests = Requests(bus, Registry(settings.tracking_uri), children, settings)
    broker = make_broker(settings, "trainer")
    meters = Meters(lambda: children.running)
    subscribe(broker, requests, children, settings.concurrency, meters=meters)
    document_publishes(broker, [RunStarted, RunProgress, RunFinished, RunFailed])
    return Trainer(bus, broker, children, meters)


def create_broker() -> NatsBroker:
    """Return the broker with all subscriptions, connected to nothing: for AsyncAPI."""
    return compose(configuration.load(TrainerSettings)).broker


def create_app(settings: TrainerSettings | None = None) -> Starlette:
    """Return the service; it connects when it starts."""
    settings = settings or configuration.load(TrainerSettings)
    configure_logging("trainer", level=settings.log_level, as_json=settings.log_json)
    tracing.start("trainer", settings.otlp_endpoint)
    trainer = compose(settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await asyncio.to_thread(trainer.children.warm_up)
        await trainer.bus.open(START_S)
        await prepare(trainer.bus.js, settings)
        await start_broker(trainer.broker)
        yield
        trainer.children.stop()
        await stop_broker(trainer.broker)
        await trainer.bus.close()

    async def health(_: HttpRequest) -> Response:
        await asyncio.to_thread(trainer.children.warm_up)  # starts the children's server anew if it has died
        connected = trainer.bus.client.is_connected
        return JSONResponse({"status": "ok" if connected else "no NATS"}, 200 if connected else 503)

    async def events(_: HttpRequest) -> Response:
        return HTMLResponse(asyncapi_page(trainer.broker, "Baton trainer", "Turns train requests into versions."))

    async def metrics(_: HttpRequest) -> Response:
        return Response(await trainer.metrics(), media_type=CONTENT_TYPE_LATEST)

    routes = [Route("/health", health), Route("/metrics", metrics), Route("/asyncapi", events)]
    return Starlette(routes=routes, lifespan=lifespan)
