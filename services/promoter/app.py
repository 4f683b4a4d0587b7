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
from services.promoter.capture.capture import Triggers
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
from services.promoter.policy.file import read_policies
from services.promoter.promotion import Promoter
from services.promoter.reconciler import Reconciler
from services.promoter.relay import Relay
from services.promoter.reports import Reports
from services.promoter.routes import cleanup as cleanups
from services.promoter.routes import commands, documents, errors, records, state
from services.promoter.settings import PromoterSettings
from services.promoter.status import Status
from shared.bus import NatsBus
from shared.consumers import keep_alive
from shared.events import ChampionWanted, ModelPromoted, ModelWithdrawn, PromotionDecided
from shared.registry import Registry
from shared.service import asyncapi, document_publishes, end, end_on_failure, make_broker, stop_broker
from shared.settings import ServiceSettings, load
from shared.streams import prepare

START_DEADLINE_S = 60.0


def create_broker(settings: ServiceSettings | None = None) -> NatsBroker:
    """Return the broker with every subscription, connected to nothing."""
    broker = make_broker(settings or ServiceSettings(), PROMOTER)
    broker.include_routers(handlers.event_router(), handlers.command_router(), handlers.fleet_router())
    document_publishes(broker, [PromotionDecided, ModelPromoted, ModelWithdrawn, ChampionWanted])
    return broker


def create_app(settings: PromoterSettings | None = None) -> FastAPI:
    """Build the promoter; it connects when its lifespan starts."""
    settings = settings or load(PromoterSettings)
    policies = read_policies(settings.policy_file)
    bus = NatsBus(settings, PROMOTER)
    registry = Registry(settings.tracking_uri)
    database = Database(settings.database_url)
    ledger, fleet = Ledger(database), Fleet(time.monotonic)
    bundler = Bundler(bus, registry, settings)
    by_triggers = settings.capture == "triggers"
    capture = Triggers(database, registry) if by_triggers else Polling(database, registry, settings.poll_s)
    outbox, ledger_records = Outbox(database), Records(database)
    reconciler = Reconciler(capture, outbox, ledger_records, bus, fleet, interval_s=settings.reconcile_s)
    relay = Relay(
        settings.database_url, outbox, bus, bundler, capture=capture, upkeep=(reconciler.run, reconciler.look)
    )
    comparison = Comparison(registry, ledger, Scorer(bus, registry), policies)
    cleanup = Cleanup(bus, registry, ledger)
    judge = Judge(registry, ledger, comparison, policies, bundler=bundler, cleanup=cleanup)
    promoter = Promoter(bus, registry, ledger, judge, Turns(database), capture=capture, cleanup=cleanup)
    status = Status(ledger_records, relay, fleet, registry, capture)
    broker = create_broker(settings)
    broker.context.set_global("promoter", promoter)
    broker.context.set_global("reports", Reports(database, policies, promoter))
    broker.context.set_global("fleet", fleet)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await bus.open(START_DEADLINE_S)
        await prepare(bus.js, settings)
        await migrate(database, with_triggers=by_triggers)
        await broker.start()
        pulling = [subscriber for subscriber in broker.subscribers if isinstance(subscriber, PullStreamSubscriber)]
        tasks = [asyncio.create_task(relay.run()), asyncio.create_task(keep_alive(pulling))]
        for task in tasks:
            task.add_done_callback(end_on_failure)
        try:
            yield
        finally:
            await end(tasks)  # first: `keep_alive` would start anew what the broker stops
            await stop_broker(broker)
            await bus.close()
            database.close()

    app = FastAPI(title="Baton promoter", lifespan=lifespan)
    errors.handle_errors(app)
    app.include_router(state.make_router(fleet, relay, status, lambda: bus.client.is_connected))
    app.include_router(records.make_router(ledger_records))
    app.include_router(commands.make_router(Commands(bus)))
    app.include_router(cleanups.make_router(Commands(bus), cleanup))
    app.include_router(documents.make_router(asyncapi(broker, "Baton promoter", app.title), settings.asyncapi_file))
    app.state.broker = broker
    return app
