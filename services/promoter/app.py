"""The promoter: decides which version becomes champion, and relays every change of a champion to the bus.

Read from here: settings → parts → what starts and stops with the process.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from faststream.nats import NatsBroker
from faststream.nats.subscriber.usecases import PullStreamSubscriber

from services.promoter import handlers
from services.promoter.bundling.bundler import Bundler
from services.promoter.capture.capture import Capture, Triggers
from services.promoter.capture.migration import migrate
from services.promoter.capture.polling import Polling
from services.promoter.cases import PROMOTER
from services.promoter.cleanup import Cleanup
from services.promoter.commands import Commands
from services.promoter.fleet import Fleet
from services.promoter.judging.comparison import Comparison
from services.promoter.judging.judge import Judge
from services.promoter.judging.scoring import Scorer
from services.promoter.ledger.database import Database
from services.promoter.ledger.ledger import Ledger
from services.promoter.ledger.outbox import Outbox
from services.promoter.ledger.records import Records
from services.promoter.ledger.turns import Turns
from services.promoter.meters import Meters
from services.promoter.policy.file import read_policies
from services.promoter.promotion import Promoter
from services.promoter.reconciler import Reconciler
from services.promoter.relay import Relay
from services.promoter.reports import Reports
from services.promoter.routes import cleanup as cleanups
from services.promoter.routes import commands, documents, errors, guard, metrics, records, state
from services.promoter.settings import PromoterSettings
from services.promoter.status import Status
from shared.bus import NatsBus
from shared.consumers import keep_alive
from shared.events import ChampionWanted, ModelPromoted, ModelWithdrawn, PromotionDecided
from shared.keys import Keys
from shared.registry import Registry
from shared.service import asyncapi, document_publishes, end_on_failure, make_broker, start_broker, stop_broker
from shared.settings import ServiceSettings, load
from shared.streams import prepare
from shared.tasks import end
from shared.tracing import tracing

START_DEADLINE_S = 60.0


def create_broker(settings: ServiceSettings | None = None) -> NatsBroker:
    """Return the broker with every subscription, connected to nothing."""
    broker = make_broker(settings or ServiceSettings(), PROMOTER)
    broker.include_routers(handlers.event_router(), handlers.command_router(), handlers.fleet_router())
    document_publishes(broker, [PromotionDecided, ModelPromoted, ModelWithdrawn, ChampionWanted])
    return broker


class Parts:
    """What a promoter is made of; nothing is connected before `running`."""

    def __init__(self, settings: PromoterSettings) -> None:
        self.settings = settings
        policies = read_policies(settings.policy_file)
        self.bus, registry = NatsBus(settings, PROMOTER), Registry(settings.tracking_uri)
        self.database, self.meters = Database(settings.database_url), Meters()
        self.records, self.fleet = Records(self.database), Fleet(time.monotonic)
        ledger, outbox = Ledger(self.database), Outbox(self.database)
        bundler = Bundler(self.bus, registry, settings)
        capture = _capture(settings, self.database, registry)
        reconciler = Reconciler(capture, outbox, self.records, self.bus, self.fleet, interval_s=settings.reconcile_s)
        upkeep = (reconciler.run, reconciler.look)
        self.relay = Relay(
            settings.database_url, outbox, self.bus, bundler, capture=capture, upkeep=upkeep, meters=self.meters
        )
        self.cleanup = Cleanup(self.bus, registry, ledger)
        comparison = Comparison(registry, ledger, Scorer(self.bus, registry), policies)
        judge = Judge(registry, ledger, comparison, policies, bundler=bundler, cleanup=self.cleanup)
        turns = Turns(self.database)
        promoter = Promoter(
            self.bus, registry, ledger, judge, turns, capture=capture, cleanup=self.cleanup, meters=self.meters
        )
        self.status = Status(self.records, self.relay, self.fleet, registry, capture)
        self.broker = create_broker(settings)
        self.broker.context.set_global("promoter", promoter)
        self.broker.context.set_global("reports", Reports(self.database, policies, promoter))
        self.broker.context.set_global("fleet", self.fleet)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connect, migrate the ledger, consume and relay; undo it all afterwards."""
        await self.bus.open(START_DEADLINE_S)
        await prepare(self.bus.js, self.settings)
        await migrate(self.database, with_triggers=self.settings.capture == "triggers")
        await start_broker(self.broker)
        pulling = [one for one in self.broker.subscribers if isinstance(one, PullStreamSubscriber)]
        tasks = [asyncio.create_task(self.relay.run()), asyncio.create_task(keep_alive(pulling))]
        for task in tasks:
            task.add_done_callback(end_on_failure)
        try:
            yield
        finally:
            await end(tasks)  # first: `keep_alive` would start anew what the broker stops
            await stop_broker(self.broker)
            await self.bus.close()
            self.database.close()


def _capture(settings: PromoterSettings, database: Database, registry: Registry) -> Capture:
    if settings.capture == "triggers":
        return Triggers(database, registry)
    return Polling(database, registry, settings.poll_s)


def create_app(settings: PromoterSettings | None = None) -> FastAPI:
    """Build the promoter; it connects when its lifespan starts."""
    parts = Parts(settings or load(PromoterSettings))
    tracing.start(PROMOTER, parts.settings.otlp_endpoint)

    tokens = Keys(parts.settings.tokens_file, "token")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with tokens.followed(), parts.running():
            yield

    app = FastAPI(title="Baton promoter", lifespan=lifespan)
    guard.guard(app, parts.settings, tokens)
    described, commanded = asyncapi(parts.broker, "Baton promoter", app.title), Commands(parts.bus)
    errors.handle_errors(app)
    app.include_router(state.make_router(parts.fleet, parts.relay, parts.status, lambda: parts.bus.client.is_connected))
    app.include_router(metrics.make_router(parts.meters, parts.status))
    app.include_router(records.make_router(parts.records))
    app.include_router(commands.make_router(commanded))
    app.include_router(cleanups.make_router(commanded, parts.cleanup))
    app.include_router(documents.make_router(described, parts.settings.asyncapi_file))
    app.state.broker = parts.broker
    return app
