"""The predictor's composition root: settings → worker (bus, cache, slots, handlers) → HTTP. Read this first.

A worker serves what its disk cache remembers at once, and follows the bus as soon as NATS answers.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from faststream.nats import NatsBroker
from starlette.applications import Starlette

from services.predictor.drain import draining
from services.predictor.routes.api import make_api
from services.predictor.routes.front import Front
from services.predictor.settings import PredictorSettings
from services.predictor.worker import Worker
from shared import settings as configuration
from shared.keys import Keys
from shared.telemetry import configure_logging
from shared.tracing import tracing


def create_app(settings: PredictorSettings | None = None) -> Front:
    """Return one worker's application; nothing is connected to before it starts."""
    settings = settings or configuration.load(PredictorSettings)
    configure_logging("predictor", level=settings.log_level, as_json=settings.log_json)
    tracing.start("predictor", settings.otlp_endpoint)
    worker = Worker(settings)
    keys = Keys(settings.api_keys_file) if settings.asks_for_keys else None

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with keys.followed() if keys else nullcontext(), worker.running():
            with draining(worker.gate, settings.drain_s):
                yield
        await asyncio.to_thread(tracing.stop)  # a worker ends without what other processes do at their exit

    return make_api(
        worker.slots,
        worker.executor,
        worker.gate,
        worker.meters,
        settings=settings,
        keys=keys,
        status=worker.status,
        load=worker.load,
        lifespan=lifespan,
    )


def create_broker() -> NatsBroker:
    """Return the broker with all subscriptions, connected to nothing: for AsyncAPI."""
    return Worker(configuration.load(PredictorSettings)).broker
