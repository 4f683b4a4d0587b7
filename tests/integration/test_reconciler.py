"""What the reconciler finds different between registry, ledger, bus and fleet, it repairs, and says so."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from nats.aio.msg import Msg
from structlog.testing import capture_logs

from services.promoter.bundling.bundler import Bundler
from services.promoter.capture.capture import Triggers
from services.promoter.capture.migration import migrate
from services.promoter.fleet import Fleet
from services.promoter.ledger.database import Database
from services.promoter.ledger.outbox import Outbox
from services.promoter.ledger.records import Records
from services.promoter.meters import Meters
from services.promoter.reconciler import Reconciler
from services.promoter.relay import Relay
from services.promoter.settings import BundlingSettings
from shared.bus import NatsBus
from shared.event import Stream
from shared.events import ChampionWanted, ModelPromoted, PredictorAlive
from shared.settings import BusSettings
from shared.streams import declare_when_reachable
from shared.tasks import end
from tests.integration.kit import Versions, new_model
from tests.integration.predictors import predictor_process
from tests.servers import free_port, nats_server


@pytest.fixture
async def database(database_url: str, tracking_uri: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    await migrate(opened)
    yield opened
    opened.close()


@pytest.fixture
def versions(tracking_uri: str) -> Versions:
    return Versions(tracking_uri, new_model())


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(time.monotonic)


MakeReconciler = Callable[[NatsBus], Reconciler]


@pytest.fixture
def new_reconciler(database: Database, versions: Versions, fleet: Fleet) -> MakeReconciler:
    def make(bus: NatsBus) -> Reconciler:
        capture = Triggers(database, versions.registry)
        return Reconciler(capture, Outbox(database), Records(database), bus, fleet, patience_s=0.0)

    return make


@asynccontextmanager
async def relaying(bus: NatsBus, database: Database, versions: Versions) -> AsyncIterator[None]:
    bundler = Bundler(bus, versions.registry, BundlingSettings())
    capture = Triggers(database, versions.registry)
    running = asyncio.create_task(
        Relay(database.url, Outbox(database), bus, bundler, capture=capture, meters=Meters()).run()
    )
    try:
        yield
    finally:
        await end([running])


async def promoted(bus: NatsBus, model: str, generation: int) -> ModelPromoted:
    """Wait until a generation of a model is the last on the bus."""
    async with asyncio.timeout(30):
        while True:
            found = await bus.last(ModelPromoted, model)
            if found and isinstance(found[1], ModelPromoted) and found[1].generation == generation:
                return found[1]
            await asyncio.sleep(0.05)


async def move_alias(versions: Versions, version: str) -> None:
    await asyncio.to_thread(versions.client.set_registered_model_alias, versions.model, "champion", version)


def repairs(entries: list[MutableMapping[str, Any]], model: str) -> list[str]:
    return [entry["event"] for entry in entries if entry.get("model") == model and "repaired" in entry["event"]]


async def test_a_bus_that_lost_its_storage_is_told_again(
    database: Database, versions: Versions, new_reconciler: MakeReconciler, tmp_path: Path
) -> None:
    port, one, two = free_port(), versions.plain(), versions.plain()
    settings = BusSettings(nats_url=f"nats://127.0.0.1:{port}")
    bus = NatsBus(settings, "test")
    with nats_server(tmp_path, port):
        await bus.open()
        await declare_when_reachable(bus.js, 1)
        reconciler = new_reconciler(bus)
        async with relaying(bus, database, versions):
            for generation, version in enumerate((one, two), 1):
                await move_alias(versions, version)
                before = await promoted(bus, versions.model, generation)
            with capture_logs() as entries:
                await reconciler.reconcile()
            assert repairs(entries, versions.model) == [], "nothing to repair"
    shutil.rmtree(tmp_path / "js")
    async with relaying(bus, database, versions):
        with nats_server(tmp_path, port), capture_logs() as entries:
            await connected(bus)
            await reconciler.reconcile()
            after = await promoted(bus, versions.model, 2)
    await bus.close()
    assert after == before
    assert repairs(entries, versions.model) == ["repaired: the bus had lost a champion"]
    assert [entry["streams"] for entry in entries if "streams were gone" in entry["event"]]


async def connected(bus: NatsBus) -> None:
    async with asyncio.timeout(30):
        while not bus.client.is_connected:
            await asyncio.sleep(0.05)


async def test_a_change_that_nobody_captured_is_captured_late_and_said(
    bus: NatsBus, database: Database, versions: Versions, new_reconciler: MakeReconciler
) -> None:
    one, reconciler = versions.plain(), new_reconciler(bus)
    await database.do("ALTER TABLE registered_model_aliases DISABLE TRIGGER baton_alias")
    await move_alias(versions, one)
    assert await Records(database).history(versions.model, 9) == []
    with capture_logs() as entries:
        await reconciler.reconcile()
    assert repairs(entries, versions.model) == ["repaired: a champion had changed and was not captured"]
    assert any("triggers were gone" in entry["event"] for entry in entries)
    (row,) = await Records(database).history(versions.model, 9)
    assert (row["version"], row["reason"]) == (one, "unknown (MLflow): alias champion found moved")


async def test_errors_of_the_capture_are_said_once(
    bus: NatsBus, database: Database, versions: Versions, new_reconciler: MakeReconciler
) -> None:
    reconciler, one = new_reconciler(bus), versions.plain()
    await reconciler.reconcile()  # what was before
    await database.do("ALTER TABLE baton.promotions RENAME TO hidden")
    try:
        await move_alias(versions, one)
    finally:
        await database.do("ALTER TABLE baton.hidden RENAME TO promotions")
    with capture_logs() as entries:
        await reconciler.reconcile()
        await reconciler.reconcile()
    (said,) = [entry for entry in entries if entry["event"] == "the capture failed"]
    assert (said["model"], said["trigger"]) == (versions.model, "baton_judge")
    assert 'relation "baton.promotions" does not exist' in said["message"]
    assert repairs(entries, versions.model) == ["repaired: a champion had changed and was not captured"]


async def test_a_worker_that_is_behind_reads_its_champions_again(
    bus: NatsBus, database: Database, versions: Versions, fleet: Fleet, new_reconciler: MakeReconciler
) -> None:
    model, heard = versions.model, asyncio.Queue[str]()

    async def on_nudge(message: Msg) -> None:
        heard.put_nowait(message.subject)

    await bus.client.subscribe(ChampionWanted.subject(model), cb=on_nudge)
    async with relaying(bus, database, versions):
        await move_alias(versions, versions.plain())
        await promoted(bus, model, 1)
        await published(database, model)  # or the relay ends between publishing and noting it
    fleet.alive(PredictorAlive(predictor="p", worker=0, models=[], ttl_s=60))
    with capture_logs() as entries:
        await new_reconciler(bus).reconcile()
    assert await asyncio.wait_for(heard.get(), 10) == ChampionWanted.subject(model)
    (said,) = [entry for entry in entries if entry.get("model") == model and "older champion" in entry["event"]]
    assert (said["predictor"], said["generation"], said["published"]) == ("p", 0, 1)


async def published(database: Database, model: str) -> None:
    async with asyncio.timeout(20):
        while any(row["model"] == model for row in await Outbox(database).backlog()):
            await asyncio.sleep(0.05)


async def test_a_predictor_answers_a_nudge_by_subscribing_anew(bus: NatsBus, nats_url: str, tmp_path: Path) -> None:
    others = await champions_consumers(bus)  # of predictors that are gone, until the server forgets them
    with predictor_process(nats_url, tmp_path):
        before = await champions_consumers(bus) - others
        await bus.publish(ChampionWanted(generation=1, ledger="another"), new_model())
        async with asyncio.timeout(30):
            while (now := await champions_consumers(bus) - others) & before or len(now) < len(before):
                await asyncio.sleep(0.1)


async def champions_consumers(bus: NatsBus) -> set[str]:
    return {consumer.name for consumer in await bus.js.consumers_info(Stream.CHAMPIONS)}
