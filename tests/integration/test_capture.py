"""Every change of a champion, whoever makes it and however, is one row of the outbox and one event, in order."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import psycopg2
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from services.promoter.bundling.bundler import Bundler
from services.promoter.capture.capture import Triggers
from services.promoter.capture.migration import migrate
from services.promoter.cases import Case
from services.promoter.ledger.database import Database
from services.promoter.ledger.ledger import Intent, Ledger
from services.promoter.ledger.outbox import Outbox
from services.promoter.ledger.records import Records
from services.promoter.meters import Meters
from services.promoter.relay import Relay
from services.promoter.settings import BundlingSettings
from shared.bus import NatsBus
from shared.errors import PromotionConflictError, RegistryError
from shared.events import ModelPromoted, ModelRejected, ModelWithdrawn, PromotionDecided
from shared.registry import Registry
from shared.tasks import end
from shared.versions import TAG_REQUEST
from tests.integration.kit import Ear, Versions, listening_to, new_model

pytestmark = pytest.mark.filterwarnings("ignore:.*stages:FutureWarning")


@pytest.fixture
async def database(database_url: str, tracking_uri: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    await migrate(opened)
    yield opened
    opened.close()


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database)


@pytest.fixture
def capture(database: Database, tracking_uri: str) -> Triggers:
    return Triggers(database, Registry(tracking_uri))


@pytest.fixture
def records(database: Database) -> Records:
    return Records(database)


@pytest.fixture
def new_relay(
    database_url: str, bus: NatsBus, outbox: Outbox, capture: Triggers, tracking_uri: str
) -> Callable[[], Relay]:
    bundler = Bundler(bus, Registry(tracking_uri), BundlingSettings())
    return lambda: Relay(database_url, outbox, bus, bundler, capture=capture, meters=Meters())


@pytest.fixture
async def relay(new_relay: Callable[[], Relay]) -> AsyncIterator[None]:
    running = asyncio.create_task(new_relay().run())
    yield
    await end([running])


@pytest.fixture
def versions(tracking_uri: str) -> Versions:
    return Versions(tracking_uri, new_model())


@pytest.fixture
async def ear(bus: NatsBus, versions: Versions) -> AsyncIterator[Ear]:
    async with listening_to(bus, versions.model, ModelPromoted, ModelWithdrawn) as opened:
        yield opened


async def heard(ear: Ear) -> ModelPromoted | ModelWithdrawn:
    event = await asyncio.wait_for(ear.next(), 20)
    assert isinstance(event, ModelPromoted | ModelWithdrawn)
    return event


def stages(client: MlflowClient, model: str) -> dict[str, str | None]:
    return {found.version: found.current_stage for found in client.search_model_versions(f"name = '{model}'")}


async def until(what: str, holds, deadline_s: float = 20) -> None:
    try:
        async with asyncio.timeout(deadline_s):
            while True:
                if await holds():
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"waited {deadline_s} s in vain for {what}")


async def test_an_alias_moved_in_mlflow_is_published(relay: None, versions: Versions, ear: Ear) -> None:
    one, two = versions.plain(), versions.plain()
    versions.client.set_registered_model_alias(versions.model, "champion", one)
    first = await heard(ear)
    assert isinstance(first, ModelPromoted)
    assert (first.version, first.generation, first.previous) == (one, 1, None)
    assert first.actor == "unknown (MLflow)"
    assert first.reason == "unknown (MLflow): alias champion moved"
    assert first.run_id == versions.client.get_model_version(versions.model, one).run_id

    versions.client.set_registered_model_alias(versions.model, "champion", two)
    second = await heard(ear)
    assert isinstance(second, ModelPromoted)
    assert (second.version, second.generation, second.previous) == (two, 2, one)


async def test_other_aliases_and_stages_are_nobody_s_business(versions: Versions, records: Records) -> None:
    one = versions.plain()
    versions.client.set_registered_model_alias(versions.model, "challenger", one)
    versions.client.transition_model_version_stage(versions.model, one, "Staging")
    assert await records.history(versions.model, 10) == []


async def test_a_stage_transition_is_one_promotion(relay: None, versions: Versions, ear: Ear, records: Records) -> None:
    one, two = versions.plain(), versions.plain()
    client, model = versions.client, versions.model
    for version in (one, two):
        client.transition_model_version_stage(model, version, "Production", archive_existing_versions=True)
        event = await heard(ear)
        assert isinstance(event, ModelPromoted)
        assert event.version == version
        assert event.reason == "unknown (MLflow): stage set to Production"
        assert client.get_model_version_by_alias(model, "champion").version == version
    assert [row["version"] for row in await records.history(model, 10)] == [two, one]


async def test_stages_follow_the_alias_and_are_not_captured_again(
    relay: None, versions: Versions, ear: Ear, records: Records
) -> None:
    one, two = versions.plain(), versions.plain()
    for version in (one, two):
        versions.client.set_registered_model_alias(versions.model, "champion", version)
        await heard(ear)

        async def mirrored(version: str = version) -> bool:
            return (await asyncio.to_thread(stages, versions.client, versions.model))[version] == "Production"

        await until("the stage to follow the alias", mirrored)
    assert stages(versions.client, versions.model) == {one: "Archived", two: "Production"}
    assert len(await records.history(versions.model, 10)) == 2


async def test_twenty_changes_in_a_burst_arrive_in_order_and_once(
    relay: None, versions: Versions, ear: Ear, records: Records
) -> None:
    both = [versions.plain(), versions.plain()]

    def move() -> None:
        for step in range(20):
            versions.client.set_registered_model_alias(versions.model, "champion", both[step % 2])

    await asyncio.to_thread(move)
    events = [await heard(ear) for _ in range(20)]
    assert [event.generation for event in events] == list(range(1, 21))
    assert [event.version for event in events if isinstance(event, ModelPromoted)] == both * 10

    async def all_published() -> bool:
        return all(row["published_at"] for row in await records.history(versions.model, 30))

    await until("every change to be marked as published", all_published)


async def test_concurrent_changes_are_recorded_in_commit_order(versions: Versions, records: Records) -> None:
    candidates = [versions.plain() for _ in range(4)]
    versions.client.set_registered_model_alias(versions.model, "champion", candidates[0])

    def move(version: str) -> None:
        for _ in range(5):
            versions.client.set_registered_model_alias(versions.model, "champion", version)

    await asyncio.gather(*(asyncio.to_thread(move, version) for version in candidates))
    history = (await records.history(versions.model, 100))[::-1]
    assert [row["generation"] for row in history] == list(range(1, len(history) + 1))
    assert all(row["previous"] == before["version"] for before, row in pairwise(history))
    champion = versions.client.get_model_version_by_alias(versions.model, "champion").version
    assert history[-1]["version"] == champion


@pytest.mark.parametrize("what", ["alias", "version", "model"])
async def test_a_deletion_withdraws(relay: None, versions: Versions, ear: Ear, what: str) -> None:
    version, client, model = versions.plain(), versions.client, versions.model
    client.set_registered_model_alias(model, "champion", version)
    await heard(ear)
    delete = {
        "alias": lambda: client.delete_registered_model_alias(model, "champion"),
        "version": lambda: client.delete_model_version(model, version),
        "model": lambda: client.delete_registered_model(model),
    }[what]
    delete()
    withdrawn = await heard(ear)
    assert isinstance(withdrawn, ModelWithdrawn)
    assert (withdrawn.generation, withdrawn.previous) == (2, version)
    assert withdrawn.reason == "unknown (MLflow): alias champion deleted"


async def test_a_renamed_model_is_followed(versions: Versions, records: Records, database: Database) -> None:
    version, old_name, new_name = versions.plain(), versions.model, new_model()
    versions.client.set_registered_model_alias(old_name, "champion", version)
    await database.do("UPDATE baton.models SET frozen = true, frozen_by = 'ann' WHERE model = %s", old_name)
    versions.client.rename_registered_model(old_name, new_name)
    (withdrawn, _), (promoted,) = await records.history(old_name, 9), await records.history(new_name, 9)
    assert (withdrawn["kind"], promoted["kind"], promoted["version"]) == ("withdrawn", "promoted", version)
    assert withdrawn["reason"] == f"unknown (MLflow): renamed to {new_name}"
    assert promoted["reason"] == f"unknown (MLflow): renamed from {old_name}"
    frozen = {row["model"]: (row["frozen"], row["frozen_by"]) for row in await records.standings()}
    assert (frozen[old_name], frozen[new_name]) == ((False, None), (True, "ann"))


async def test_a_version_without_a_bundle_is_rejected_and_the_relay_moves_on(
    relay: None, bus: NatsBus, versions: Versions, ear: Ear
) -> None:
    foreign, own = versions.plain(bundle=None), versions.plain()
    async with listening_to(bus, versions.model, ModelRejected) as rejections:
        versions.client.set_registered_model_alias(versions.model, "champion", foreign)
        rejected = await asyncio.wait_for(rejections.next(), 20)
    assert isinstance(rejected, ModelRejected)
    assert (rejected.predictor, rejected.check, rejected.version) == ("promoter", "download", foreign)
    versions.client.set_registered_model_alias(versions.model, "champion", own)
    assert (await heard(ear)).generation == 2


async def test_a_relay_that_died_before_its_note_publishes_nothing_twice(
    database_url: str, bus: NatsBus, versions: Versions, records: Records, new_relay: Callable[[], Relay]
) -> None:
    both = [versions.plain(), versions.plain()]

    async def published() -> bool:
        return all(row["published_at"] for row in await records.history(versions.model, 9))

    for _ in range(2):  # the second relay finds the notes of the first erased
        for version in both:
            versions.client.set_registered_model_alias(versions.model, "champion", version)
        running = asyncio.create_task(new_relay().run())
        await until("the changes to be published", published)
        await end([running])
        erase(database_url, versions.model)
        both = both[1:]  # nothing new the second time
    info = await bus.js.stream_info("CHAMPIONS", subjects_filter=ModelPromoted.subject(versions.model))
    assert info.state.subjects == {ModelPromoted.subject(versions.model): 2}


def erase(database_url: str, model: str) -> None:
    with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE baton.promotions SET published_at = NULL WHERE model = %s", (model,))
    connection.close()


def case(model: str) -> Case:
    return Case(source_event=model, model=model, version="", request_id="")


def decision(model: str, version: str) -> PromotionDecided:
    return PromotionDecided(
        decision=f"decision on {model} {version}",
        request_id="r",
        version=version,
        champion=None,
        verdict="promoted",
        reason="better",
        rules=[],
        challenger_metrics={"roc_auc": 0.9},
    )


async def test_an_intent_tells_by_whom_and_why(versions: Versions, ledger: Ledger, records: Records) -> None:
    version = versions.plain()
    decided = decision(versions.model, version)
    await ledger.record(case(versions.model), decided, Intent(0, "promoter", "better"))
    versions.registry.promote(versions.model, version)
    (row,) = await records.history(versions.model, 9)
    assert (row["actor"], row["reason"], row["decision"]) == ("promoter", "better", decided.decision)
    assert row["challenger_metrics"] == {"roc_auc": 0.9}
    assert not await ledger.renew_intent(decided.decision), "an intent is used once"


async def test_an_intent_that_is_out_of_date_is_refused(versions: Versions, ledger: Ledger, records: Records) -> None:
    one, two = versions.plain(), versions.plain()
    decided = decision(versions.model, two)
    await ledger.record(case(versions.model), decided, Intent(0, "promoter", "better"))
    versions.client.set_registered_model_alias(versions.model, "champion", one)
    with pytest.raises(PromotionConflictError):
        versions.registry.promote(versions.model, two)
    assert versions.client.get_model_version_by_alias(versions.model, "champion").version == one
    await ledger.supersede(decided.decision)
    versions.client.set_registered_model_alias(versions.model, "champion", two)
    assert (await records.history(versions.model, 1))[0]["actor"] == "unknown (MLflow)"


@contextmanager
def renamed(database_url: str, table: str) -> Iterator[None]:
    connection = psycopg2.connect(database_url)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(f"ALTER TABLE baton.{table} RENAME TO hidden")
    try:
        yield
    finally:
        cursor.execute(f"ALTER TABLE baton.hidden RENAME TO {table}")
        connection.close()


async def test_a_broken_capture_never_fails_a_user_s_write_and_is_made_good(
    versions: Versions, database_url: str, records: Records, capture: Triggers
) -> None:
    one, two = versions.plain(), versions.plain()
    with renamed(database_url, "promotions"):
        versions.client.set_registered_model_alias(versions.model, "champion", one)
    with renamed(database_url, "models"):
        versions.client.transition_model_version_stage(versions.model, two, "Production")
    assert await records.history(versions.model, 9) == []
    assert versions.model in await capture.catch_up()
    (row,) = await records.history(versions.model, 9)
    assert row["reason"] == "unknown (MLflow): alias champion found moved"
    with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM baton.capture_errors WHERE changed ->> 'name' = %s", (versions.model,))
        assert cursor.fetchone() == (2,)
    connection.close()


async def test_promoters_that_start_at_once_migrate_once(database_url: str, tracking_uri: str) -> None:
    databases = [Database(database_url, threads=1) for _ in range(4)]
    try:
        await asyncio.gather(*(migrate(database) for database in databases))
    finally:
        for database in databases:
            database.close()
    with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM baton.schema_version")
        assert cursor.fetchone() == (1,)
        cursor.execute("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'baton_%'")
        assert cursor.fetchone() == (4,)
    connection.close()


async def test_mlflow_may_change_its_tables(versions: Versions, database: Database, database_url: str) -> None:
    """No trigger of ours stands in the way of a migration; tried in a transaction that is rolled back."""
    versions.client.set_registered_model_alias(versions.model, "champion", versions.plain())
    connection = psycopg2.connect(database_url)
    cursor = connection.cursor()
    cursor.execute("UPDATE registered_model_aliases SET workspace = 'default'")  # as migrations do before they alter
    cursor.execute("UPDATE model_versions SET current_stage = 'Production'")
    cursor.execute("ALTER TABLE registered_model_aliases ALTER COLUMN version TYPE bigint")
    cursor.execute("ALTER TABLE model_versions ALTER COLUMN current_stage TYPE text")
    cursor.execute("ALTER TABLE model_versions DROP COLUMN current_stage")
    connection.rollback()
    connection.close()


async def test_one_run_per_request_becomes_a_version_and_copies_are_free(
    relay: None, versions: Versions, tracking_uri: str
) -> None:
    request = {TAG_REQUEST: str(uuid.uuid4())}
    run, other = (versions.client.create_run(versions.experiment) for _ in range(2))

    def register(run: Run) -> str:
        source = f"{run.info.artifact_uri}/model"
        made = versions.registry.register(
            versions.model, source=source, run_id=run.info.run_id, model_id=None, tags=request
        )
        return made.version

    first = await asyncio.to_thread(register, run)
    with pytest.raises(RegistryError, match="already"):
        await asyncio.to_thread(register, other)
    for target in (versions.model, "copied " + versions.model, "copied " + versions.model):
        copy = versions.client.copy_model_version(f"models:/{versions.model}/{first}", target)
        assert copy.tags[TAG_REQUEST] == request[TAG_REQUEST]
