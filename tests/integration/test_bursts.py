"""Many changes at once, with parts of Baton away: each arrives, in order, once."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import cycle, islice
from pathlib import Path

import httpx
import psycopg2
import pytest

from services.promoter.bundling.bundler import Bundler
from services.promoter.capture.capture import Triggers
from services.promoter.capture.migration import migrate
from services.promoter.ledger.database import Database
from services.promoter.ledger.outbox import Outbox
from services.promoter.meters import Meters
from services.promoter.relay import Relay
from services.promoter.settings import BundlingSettings
from shared.bus import NatsBus
from shared.event import Event, Stream
from shared.events import ModelPromoted
from shared.follow import follow
from shared.settings import BusSettings
from shared.streams import declare_when_reachable
from shared.tasks import end
from tests.integration.kit import Versions, new_model, promoter
from tests.integration.predictors import Predictor, predictor_process
from tests.integration.scene import Scene
from tests.servers import free_port, nats_server

CHANGES = 100
TRANSITIONS, CALLERS = 160, 8
TRANSITION = "api/2.0/mlflow/model-versions/transition-stage"


@pytest.fixture
def versions(tracking_uri: str) -> Versions:
    return Versions(tracking_uri, new_model())


Relaying = Callable[[NatsBus], AbstractAsyncContextManager[None]]


@pytest.fixture
async def relaying(database_url: str, versions: Versions) -> AsyncIterator[Relaying]:
    database = Database(database_url)
    await migrate(database)

    @asynccontextmanager
    async def relay(bus: NatsBus) -> AsyncIterator[None]:
        bundler = Bundler(bus, versions.registry, BundlingSettings())
        capture = Triggers(database, versions.registry)
        running = asyncio.create_task(
            Relay(database_url, Outbox(database), bus, bundler, capture=capture, meters=Meters()).run()
        )
        try:
            yield
        finally:
            await end([running])

    yield relay
    database.close()


def move_alias(versions: Versions, both: list[str]) -> list[str]:
    """Move the alias again and again through MLflow's REST API; return the versions in order."""
    moved = list(islice(cycle(both), CHANGES))
    for version in moved:
        versions.promote(version)
    return moved


async def all_heard(bus: NatsBus, model: str) -> list[ModelPromoted]:
    """Return a model's promotions once the last one is there, from the first the stream holds."""
    heard: list[ModelPromoted] = []
    async with asyncio.timeout(60):
        async for received in follow(bus, Stream.CHAMPIONS, [ModelPromoted.subject(model)], 0):
            assert isinstance(received.event, ModelPromoted)
            heard.append(received.event)
            if received.event.generation == CHANGES:
                break
    count = await bus.js.stream_info(Stream.CHAMPIONS, subjects_filter=ModelPromoted.subject(model))
    assert count.state.subjects == {ModelPromoted.subject(model): CHANGES}, "none came twice"
    return heard


async def test_a_burst_while_nats_is_down_arrives_in_order_and_once(
    relaying: Relaying, versions: Versions, tmp_path: Path
) -> None:
    port, both = free_port(), [versions.plain(), versions.plain()]
    url = f"nats://127.0.0.1:{port}"
    with nats_server(tmp_path, port):
        bus = NatsBus(BusSettings(nats_url=url), "test")
        await bus.open()
        await declare_when_reachable(bus.js, 1)
    down_since = time.monotonic()
    async with relaying(bus):
        moved = await asyncio.to_thread(move_alias, versions, both)
        took = time.monotonic() - down_since
        await asyncio.sleep(max(0.0, 10 - took))  # the outage that is promised to be survived, not a wait for something
        with nats_server(tmp_path, port):
            heard = await all_heard(bus, versions.model)
    await bus.close()
    print(f"\n{CHANGES} changes in {took:.1f} s, NATS down for {max(took, 10):.1f} s")
    assert [event.version for event in heard] == moved
    assert [event.generation for event in heard] == list(range(1, CHANGES + 1))


@pytest.mark.parametrize("forgotten", [1, 3], ids=["the relay died before its note", "the database lost three notes"])
async def test_a_relay_that_was_away_for_longer_than_ids_are_remembered_publishes_each_once(
    database_url: str, relaying: Relaying, versions: Versions, tmp_path: Path, forgotten: int
) -> None:
    both = [versions.plain(), versions.plain()]
    with nats_server(tmp_path) as url:
        async with NatsBus(BusSettings(nats_url=url), "test") as bus:
            await declare_when_reachable(bus.js, 1)
            await remember_ids_for(bus, 1.0)
            moving = asyncio.create_task(asyncio.to_thread(move_alias, versions, both))
            async with relaying(bus):
                await published(bus, versions.model, forgotten + 1)  # then the relay dies in the middle of them
            moved = await moving
            forget_notes(database_url, versions.model, forgotten)
            await ids_forgotten(bus)
            async with relaying(bus):
                heard = await all_heard(bus, versions.model)
    assert [event.version for event in heard] == moved
    assert [event.generation for event in heard] == list(range(1, CHANGES + 1))


async def remember_ids_for(bus: NatsBus, seconds: float) -> None:
    config = (await bus.js.stream_info(Stream.CHAMPIONS)).config
    config.duplicate_window = seconds
    await bus.js.update_stream(config)


async def published(bus: NatsBus, model: str, generation: int) -> None:
    """Wait for a change on the bus: then all before it are noted, too."""
    async with asyncio.timeout(30):
        while (found := await bus.last(ModelPromoted, model)) is None or generation_of(found[1]) < generation:
            await asyncio.sleep(0.01)


def generation_of(event: Event) -> int:
    assert isinstance(event, ModelPromoted)
    return event.generation


def forget_notes(database_url: str, model: str, count: int) -> None:
    """Have the database forget that the last changes were published."""
    with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE baton.promotions SET published_at = NULL WHERE model = %s AND generation IN"
            " (SELECT generation FROM baton.promotions WHERE model = %s AND published_at IS NOT NULL"
            " ORDER BY generation DESC LIMIT %s)",
            (model, model, count),
        )
        assert cursor.rowcount == count
    connection.close()


async def ids_forgotten(bus: NatsBus) -> None:
    """Wait until the server takes an id a second time; ids that are older are forgotten then, too."""
    subject, headers = ModelPromoted.subject("probe"), {"Nats-Msg-Id": "probe"}
    await bus.js.publish(subject, b"", stream=Stream.CHAMPIONS, headers=headers)
    async with asyncio.timeout(30):
        while (await bus.js.publish(subject, b"", stream=Stream.CHAMPIONS, headers=headers)).duplicate:
            await asyncio.sleep(0.2)


@pytest.fixture
def predictor(nats_url: str, tmp_path: Path) -> Iterator[Predictor]:
    with predictor_process(nats_url, tmp_path) as process:
        yield process


@pytest.fixture
async def scene(
    database_url: str, tracking_uri: str, nats_url: str, predictor: Predictor, tmp_path: Path
) -> AsyncIterator[Scene]:
    async with (
        NatsBus(BusSettings(nats_url=nats_url), "test") as bus,
        promoter(database_url, tracking_uri, nats_url) as app,
    ):
        yield Scene(bus, app, Versions(tracking_uri, new_model()), predictor, tmp_path)


async def test_concurrent_stage_transitions_leave_alias_stages_and_fleet_agreed(
    scene: Scene, tracking_uri: str
) -> None:
    versions, counts = scene.versions, Counter[int]()
    candidates = [await scene.good(share) for share in (0.1, 0.2, 0.3, 0.4)]

    def transition(number: int) -> None:
        request = {
            "name": versions.model,
            "version": candidates[number % len(candidates)],
            "stage": "Production",
            "archive_existing_versions": True,
        }
        while True:  # over plain HTTP, for MLflow's client repeats what failed and does not tell
            answer = httpx.post(f"{tracking_uri}/{TRANSITION}", json=request, timeout=60)
            counts.update([answer.status_code])
            if answer.status_code == httpx.codes.OK:
                return
            assert "deadlock" in answer.text, answer.text

    with ThreadPoolExecutor(CALLERS) as callers:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(callers, transition, n) for n in range(TRANSITIONS)))
    print(f"\n{counts[200]} transitions, {counts.total() - counts[200]} deadlocks retried")
    assert counts[200] == TRANSITIONS
    await agreed(scene)
    history = (await scene.history())[::-1]
    assert [row["generation"] for row in history] == list(range(1, len(history) + 1))
    assert history[-1]["version"] == await asyncio.to_thread(scene.champion)


async def agreed(scene: Scene) -> None:
    """Wait until alias, stages and what predictors serve are the same; say what they are if they never are."""
    seen: object = None
    try:
        async with asyncio.timeout(60):
            while True:
                alias = await asyncio.to_thread(scene.champion)
                found = await asyncio.to_thread(scene.versions.client.search_model_versions, f"name = '{scene.model}'")
                in_production = {version.version for version in found if version.current_stage == "Production"}
                served = {(await asyncio.to_thread(scene.predictor.predict, scene.model)).json().get("version")}
                seen = (alias, in_production, served)
                if {alias} == in_production == served:
                    return
                await asyncio.sleep(0.2)
    except TimeoutError:
        pytest.fail(f"alias, stages in Production and served versions never agreed: {seen}")
