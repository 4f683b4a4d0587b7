"""Capture by polling: MLflow on a database that Baton cannot reach, and the ledger in one of its own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg2
import pytest
from fastapi import FastAPI

from services.promoter.capture.polling import Polling
from services.promoter.ledger.database import Database
from shared.bus import NatsBus
from shared.errors import PromotionConflictError
from shared.event import Event
from shared.events import ModelPromoted, ModelWithdrawn, PromotionDecided, PromotionRequested
from shared.registry import Registry
from tests.integration.kit import Ear, Versions, listening_to, new_model, promoter
from tests.servers import mlflow_server

pytestmark = pytest.mark.filterwarnings("ignore:.*stages:FutureWarning")

BLIND = "polling sees neither who did it nor what was between two looks"


@pytest.fixture(scope="module")
def far_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("far_mlflow")
    with mlflow_server(folder, f"sqlite:///{folder}/mlflow.db") as uri:
        yield uri


@pytest.fixture(scope="module")
def own_database(database_url: str) -> Iterator[str]:
    server = psycopg2.connect(database_url)
    server.autocommit = True
    with server.cursor() as cursor:
        cursor.execute("DROP DATABASE IF EXISTS ledger_alone WITH (FORCE)")
        cursor.execute("CREATE DATABASE ledger_alone")
    yield urlunsplit(urlsplit(database_url)._replace(path="/ledger_alone"))
    with server.cursor() as cursor:
        cursor.execute("DROP DATABASE ledger_alone WITH (FORCE)")
    server.close()


@pytest.fixture
async def app(own_database: str, far_mlflow: str, nats_url: str, bus: NatsBus) -> AsyncIterator[FastAPI]:
    async with promoter(own_database, far_mlflow, nats_url, capture="poll", poll_s=0.2) as running:
        yield running


@pytest.fixture
def versions(far_mlflow: str) -> Versions:
    return Versions(far_mlflow, new_model())


@pytest.fixture
async def ear(bus: NatsBus, versions: Versions) -> AsyncIterator[Ear]:
    async with listening_to(bus, versions.model, ModelPromoted, ModelWithdrawn) as opened:
        yield opened


async def heard(ear: Ear) -> Event:
    return await asyncio.wait_for(ear.next(), 30)


async def in_step(versions: Versions, champion: str) -> None:
    """Wait until the alias and the one version in stage Production are a version."""
    seen: object = None
    try:
        async with asyncio.timeout(30):
            while True:
                found = await asyncio.to_thread(versions.registry.versions, versions.model)
                alias = await asyncio.to_thread(versions.registry.champion, versions.model)
                seen = (
                    alias and alias.version,
                    [version.version for version in found if version.stage == "Production"],
                )
                if seen == (champion, [champion]):
                    return
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"alias and stages never agreed on {champion}: {seen}")


async def test_changes_made_in_mlflow_are_followed(app: FastAPI, versions: Versions, ear: Ear) -> None:
    one, two, three = [versions.plain() for _ in range(3)]
    client, model = versions.client, versions.model
    await asyncio.to_thread(client.set_registered_model_alias, model, "champion", one)
    first = await heard(ear)
    assert isinstance(first, ModelPromoted)
    assert (first.version, first.generation, first.actor) == (one, 1, "unknown (MLflow)")
    assert first.reason == f"unknown (MLflow): alias champion found moved; {BLIND}"
    assert first.run_id == client.get_model_version(model, one).run_id
    await in_step(versions, one)

    await asyncio.to_thread(client.transition_model_version_stage, model, two, "Production")
    second = await heard(ear)
    assert isinstance(second, ModelPromoted)
    assert (second.version, second.generation, second.previous) == (two, 2, one)
    assert second.reason == f"unknown (MLflow): stage found set to Production; {BLIND}"
    await in_step(versions, two)

    await asyncio.to_thread(client.set_registered_model_alias, model, "champion", three)
    assert (await heard(ear)).model_dump(include={"version", "generation"}) == {"version": three, "generation": 3}
    await asyncio.to_thread(client.delete_registered_model, model)
    withdrawn = await heard(ear)
    assert isinstance(withdrawn, ModelWithdrawn)
    assert (withdrawn.generation, withdrawn.previous) == (4, three)


async def test_promotions_by_hand_carry_by_whom_and_why(
    app: FastAPI, bus: NatsBus, versions: Versions, ear: Ear, own_database: str
) -> None:
    one = versions.plain()
    async with listening_to(bus, versions.model, PromotionDecided) as decisions:
        await bus.publish(PromotionRequested(version=one, actor="ann", reason="ticket 12"), versions.model)
        decided = await asyncio.wait_for(decisions.next(), 30)
    promoted = await heard(ear)
    assert isinstance(promoted, ModelPromoted)
    assert isinstance(decided, PromotionDecided)
    assert (promoted.version, promoted.actor, promoted.reason) == (one, "ann", "ticket 12")
    assert promoted.decision == decided.decision
    await in_step(versions, one)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        told = (await client.get("/capture")).json()
    assert told["mode"] == "poll"
    assert told["blind_to"] == ["who made a change", "states that lasted less than 0.2 s, between two looks"]
    connection = psycopg2.connect(own_database)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT to_regclass('registered_models'), (SELECT count(*) FROM pg_proc WHERE proname = 'guarded')"
        )
        assert cursor.fetchone() == (None, 0), "a database of Baton's own: no tables of MLflow's, no triggers"
    connection.close()


async def test_a_promotion_that_is_out_of_date_is_refused_as_far_as_can_be_seen(
    app: FastAPI, versions: Versions, own_database: str, far_mlflow: str
) -> None:
    one, two = versions.plain(), versions.plain()
    await asyncio.to_thread(versions.promote, one)
    database = Database(own_database, threads=1)
    polling = Polling(database, Registry(far_mlflow), interval_s=3600)
    try:
        with pytest.raises(PromotionConflictError, match=f"version {two} was judged against an older champion"):
            await polling.promote(versions.model, two, generation=0)
        assert versions.registry.aliases(versions.model) == {"champion": one}
        await polling.promote(versions.model, two, generation=1)
        assert versions.registry.aliases(versions.model) == {"champion": two}
    finally:
        database.close()
