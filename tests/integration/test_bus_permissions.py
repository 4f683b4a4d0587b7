"""The shipped configuration of NATS on a real server: who may publish and hear what.

The tables name who may; everybody else is refused, on every subject of every table.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import ConsumerConfig

from cli.backup.bus import export_bundles, export_streams, import_bundles, import_streams
from shared.bus import NatsBus, RequestState
from shared.errors import ForbiddenError
from shared.event import Event, Stream
from shared.events import CATALOGUE, ChampionWanted, PredictorAlive, PromotionRequested, RunStarted, TrainRequested
from shared.follow import follow, last_sequence
from shared.settings import BusSettings
from shared.streams import declare_when_reachable
from tests.integration.shipped_nats import USERS, settings_of, shipped_nats

STREAMS = ("TRAINING", "COMMANDS", "LIFECYCLE", "CHAMPIONS", "OBJ_MODELS", "KV_REQUESTS")
POSITIONS = {"trainer-cancels": "trainer", "promoter": "promoter", "promoter-reports": "promoter"}

CREATE = "$JS.API.CONSUMER.CREATE"

EVENTS = {
    "train.requested.m": {"client", "backup"},
    "train.cancelled.m": {"client", "backup"},
    "promotion.requested.m": {"client", "promoter", "backup"},
    "run.started.m": {"trainer", "backup"},
    "run.progress.m": {"trainer", "backup"},
    "run.finished.m": {"trainer", "backup"},
    "run.failed.m": {"trainer", "backup"},
    "promotion.decided.m": {"promoter", "backup"},
    "model.promoted.m": {"promoter"},
    "model.withdrawn.m": {"promoter"},
    "model.serving.m": {"predictor", "backup"},
    "model.rejected.m": {"predictor", "promoter", "backup"},
    "predictor.alive": {"predictor"},
    "champions.wanted.m": {"promoter"},
}
OTHERS = {
    "$KV.REQUESTS.r": {"trainer", "backup"},
    "$O.MODELS.C.x": {"trainer", "promoter", "backup"},
    "$O.MODELS.M.x": {"trainer", "promoter", "backup"},
    "_INBOX.x": set(),
    "_INBOX_promoter.x": set(),
    "_INBOX_trainer.x": set(),
    "_INBOX_predictor.x": set(),
    "_INBOX_backup.x": set(),
    "$SYS.REQ.SERVER.PING": set(),
    "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.TRAINING.trainer": set(),
    "$JS.API.INFO": set(USERS),
    "$JS.API.STREAM.NAMES": {"trainer", "promoter", "predictor", "backup"},
    "$JS.API.STREAM.LIST": set(),
    "$JS.API.STREAM.CREATE.MINE": {"promoter"},
    "$JS.API.ACCOUNT.PURGE.x": set(),
    "$JS.API.META.LEADER.STEPDOWN": set(),
    "$JS.API.SERVER.REMOVE": set(),
    "$JS.API.CONSUMER.CREATE.TRAINING.trainer.train.requested.>": {"trainer"},
    "$JS.API.CONSUMER.CREATE.COMMANDS.promoter.promotion.requested.>": {"promoter"},
    "$JS.API.CONSUMER.CREATE.LIFECYCLE.x.run.finished.>": {"promoter", "predictor", "client"},
    "$JS.API.CONSUMER.CREATE.LIFECYCLE.x.promotion.decided.>": {"promoter", "client"},
    "$JS.API.CONSUMER.CREATE.LIFECYCLE.trainer-cancels.train.cancelled.>": {"trainer", "promoter"},
    "$JS.API.CONSUMER.MSG.NEXT.TRAINING.trainer": {"trainer"},
    "$JS.API.CONSUMER.INFO.TRAINING.trainer": {"trainer"},
    "$JS.ACK.TRAINING.trainer.1.1.1.1.0": {"trainer"},
    "$JS.API.CONSUMER.MSG.NEXT.COMMANDS.promoter": {"promoter"},
    "$JS.ACK.COMMANDS.promoter.1.1.1.1.0": {"promoter"},
    "$JS.FC.OBJ_MODELS.x": {"backup"},
    "$JS.FC.LIFECYCLE.x": set(),
}


def on_every_stream(*users: str) -> dict[str, set[str]]:
    return {stream: set(users) for stream in STREAMS}


# What JetStream can be asked of each stream, and who may, stream by stream: on a stream that is not named nobody may.
READERS = {"LIFECYCLE": {"promoter", "predictor", "client"}, "CHAMPIONS": {"predictor", "client"}}
BUNDLES = {"OBJ_MODELS": {"promoter", "predictor", "backup"}}
API: dict[str, dict[str, set[str]]] = {
    "STREAM.CREATE.{}": on_every_stream("promoter"),
    "STREAM.UPDATE.{}": on_every_stream("promoter"),
    "STREAM.INFO.{}": on_every_stream("trainer", "promoter", "predictor", "backup")
    | {"LIFECYCLE": set(USERS), "CHAMPIONS": set(USERS)},
    "STREAM.DELETE.{}": {},
    "STREAM.PURGE.{}": {"OBJ_MODELS": {"trainer", "promoter", "backup"}},
    "STREAM.MSG.GET.{}": on_every_stream("promoter", "backup")
    | {"LIFECYCLE": {"trainer", "promoter", "backup"}, "KV_REQUESTS": {"trainer", "promoter", "backup"}}
    | {"OBJ_MODELS": {"trainer", "promoter", "predictor", "backup"}, "CHAMPIONS": {"promoter"}},
    "DIRECT.GET.{}.x": on_every_stream("promoter")
    | {"KV_REQUESTS": {"trainer", "promoter"}, "OBJ_MODELS": {"trainer", "promoter", "predictor", "backup"}},
    "STREAM.MSG.DELETE.{}": {},
    "STREAM.SNAPSHOT.{}": {},
    "STREAM.RESTORE.{}": {},
    "STREAM.PEER.REMOVE.{}": {},
    "STREAM.LEADER.STEPDOWN.{}": {},
    "CONSUMER.LIST.{}": {},
    "CONSUMER.NAMES.{}": {},
    "CONSUMER.CREATE.{}": {"CHAMPIONS": {"client"}, "OBJ_MODELS": {"backup"}},
    "CONSUMER.CREATE.{}.x": {"CHAMPIONS": {"predictor", "client"}, "LIFECYCLE": {"promoter", "client"}} | BUNDLES,
    "CONSUMER.DURABLE.CREATE.{}.x": {"LIFECYCLE": {"promoter"}},
    "CONSUMER.INFO.{}.x": READERS | BUNDLES,
    "CONSUMER.MSG.NEXT.{}.x": READERS | BUNDLES,
    "CONSUMER.DELETE.{}.x": {name: users - {"promoter"} for name, users in READERS.items()}
    | {"OBJ_MODELS": {"backup"}},
    "CONSUMER.PAUSE.{}.x": {},
    "CONSUMER.LEADER.STEPDOWN.{}.x": {},
}
MAY_PUBLISH = (
    EVENTS
    | OTHERS
    | {
        f"$JS.API.{operation.format(stream)}": who.get(stream, set())
        for operation, who in API.items()
        for stream in STREAMS
    }
    | {f"$JS.ACK.{stream}.x.1.1.1.1.0": READERS.get(stream, set()) for stream in STREAMS}
)
# Where a service stopped in a stream is its own business.
POSITION = (
    "$JS.API.CONSUMER.CREATE.LIFECYCLE.{}.run.finished.>",
    "$JS.API.CONSUMER.DURABLE.CREATE.LIFECYCLE.{}",
    "$JS.API.CONSUMER.DELETE.LIFECYCLE.{}",
    "$JS.API.CONSUMER.MSG.NEXT.LIFECYCLE.{}",
    "$JS.ACK.LIFECYCLE.{}.1.1.1.1.0",
)
MAY_HEAR = {
    "_INBOX.x": {"client"},
    "_INBOX.>": {"client"},
    "_INBOX_trainer.x": {"trainer"},
    "_INBOX_promoter.x": {"promoter"},
    "_INBOX_predictor.x": {"predictor"},
    "_INBOX_backup.x": {"backup"},
    **{f"{event.type}.>": {"client"} for event in CATALOGUE},
    "predictor.alive": {"client", "promoter"},
    "predictor.alive.>": set(),
    "model.promoted.>": {"client", "predictor"},
    "model.withdrawn.>": {"client", "predictor"},
    "model.serving.>": {"client", "promoter"},
    "model.rejected.>": {"client", "promoter"},
    "train.cancelled.>": {"client", "trainer"},
    "champions.wanted.>": {"predictor"},
    "train.requested.>": set(),
    "promotion.requested.>": set(),
    "$JS.API.>": set(),
    "$JS.ACK.>": set(),
    "$JS.EVENT.>": set(),
    "$SYS.>": set(),
    "$O.>": set(),
    "$KV.>": set(),
    "*.*.*": set(),
    ">": set(),
}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with shipped_nats(tmp_path_factory.mktemp("guarded")) as folder:
        yield folder


@asynccontextmanager
async def connected(guarded: Path, user: str) -> AsyncIterator[tuple[NatsBus, list[str]]]:
    """Connect as a user; the list fills with what the server says that it does not allow."""
    said: list[str] = []
    async with NatsBus(settings_of(guarded, user), user) as bus:

        async def note(error: Exception) -> None:
            said.append(str(error).lower())

        bus.client._error_cb = note
        yield bus, said


async def check(bus: NatsBus, said: list[str], table: dict[str, set[str]], user: str) -> None:
    """Wait for every denial that has to come, then see that no other came."""
    forbidden = {subject for subject, allowed in table.items() if user not in allowed}
    missing = forbidden
    try:
        async with asyncio.timeout(20):
            while missing:
                await bus.client.flush()
                missing = {subject for subject in missing if not is_denied(said, subject)}
    except TimeoutError:
        pytest.fail(f"{user} was not denied {missing}")
    assert [subject for subject in table if subject not in forbidden and is_denied(said, subject)] == []


def is_denied(said: list[str], subject: str) -> bool:
    return any(f'"{subject.lower()}"' in line for line in said)


def test_every_event_is_in_the_tables() -> None:
    every: tuple[type[Event], ...] = (*CATALOGUE, PredictorAlive, ChampionWanted)
    assert {event.subject("m") for event in every} == EVENTS.keys()
    assert set(STREAMS) == {*Stream, "OBJ_MODELS", "KV_REQUESTS"}


@pytest.mark.parametrize("user", USERS)
async def test_who_may_publish_what(guarded: Path, user: str) -> None:
    async with connected(guarded, user) as (bus, said):
        for subject in MAY_PUBLISH:
            await bus.client.publish(subject, b"")
        await check(bus, said, MAY_PUBLISH, user)


@pytest.mark.parametrize("user", ["predictor", "client", "trainer", "backup"])
async def test_where_another_service_stopped_is_nobody_s_business(guarded: Path, user: str) -> None:
    table: dict[str, set[str]] = {
        subject.format(name): set() for subject in POSITION for name, owner in POSITIONS.items() if owner != user
    }
    async with connected(guarded, user) as (bus, said):
        for subject in table:
            await bus.client.publish(subject, b"")
        await check(bus, said, table, user)


@pytest.mark.parametrize("user", USERS)
async def test_who_may_hear_what(guarded: Path, user: str) -> None:
    async with connected(guarded, user) as (bus, said):
        for subject in MAY_HEAR:
            await bus.client.subscribe(subject)
        await check(bus, said, MAY_HEAR, user)


@pytest.mark.parametrize("user", ["predictor", "client"])
async def test_a_position_is_not_taken_over_by_its_name_in_a_body(guarded: Path, user: str) -> None:
    """JetStream also takes a consumer's name from the body of a request, which permissions do not see."""
    async with NatsBus(settings_of(guarded, "promoter"), "promoter") as promoter:
        await declare_when_reachable(promoter.js, 1)
        own = ConsumerConfig(durable_name="promoter", filter_subject="run.finished.>")
        await promoter.js.add_consumer(Stream.LIFECYCLE, own)
        async with NatsBus(settings_of(guarded, user), user) as bus:
            for name in ({"name": "promoter"}, {"durable_name": "promoter"}, {"name": "x", "durable_name": "promoter"}):
                config = {"filter_subject": "run.finished.m", "ack_policy": "explicit", **name}
                asked = json.dumps({"stream_name": "LIFECYCLE", "config": config}).encode()
                answer = await bus.client.request(f"{CREATE}.LIFECYCLE.x.run.finished.m", asked, timeout=5)
                assert b'"name":"promoter"' not in answer.data
                with pytest.raises(NatsTimeoutError):
                    await bus.client.request(f"{CREATE}.LIFECYCLE", asked, timeout=0.2)
        found = await promoter.js.consumer_info(Stream.LIFECYCLE, "promoter")
        assert found.config.filter_subject == "run.finished.>"


async def test_a_denied_publish_is_a_clear_error(guarded: Path) -> None:
    async with NatsBus(settings_of(guarded, "promoter"), "promoter") as promoter:
        await declare_when_reachable(promoter.js, 1)
    async with NatsBus(settings_of(guarded, "client"), "client") as client:
        await client.publish(PromotionRequested(actor="ann"), "m")
        assert await last_sequence(client.js, Stream.LIFECYCLE) >= 0
    async with NatsBus(settings_of(guarded, "predictor"), "predictor") as predictor:
        with pytest.raises(ForbiddenError, match=r"does not let this user publish train\.requested\.m"):
            await predictor.publish(TrainRequested(recipe="r", dataset="d"), "m")


async def test_a_wrong_password_is_a_clear_error_that_does_not_tell_it(guarded: Path) -> None:
    wrong = secrets.token_urlsafe(8)
    url = settings_of(guarded, "client").nats_url
    password = url.split(":")[2].split("@")[0]
    with pytest.raises(ForbiddenError, match="does not know this user or password") as refused:
        async with asyncio.timeout(20):
            await NatsBus(BusSettings(nats_url=url.replace(password, wrong)), "x").open()
    assert wrong not in str(refused.value)


async def test_every_stream_is_seen_by_services_that_make_none(guarded: Path) -> None:
    async with NatsBus(settings_of(guarded, "promoter"), "promoter") as promoter:
        await declare_when_reachable(promoter.js, 1)
    for user in ("trainer", "predictor"):
        async with NatsBus(settings_of(guarded, user), user) as bus:
            for stream in STREAMS:
                assert (await bus.js.stream_info(stream)).config.name == stream
            with pytest.raises(NatsTimeoutError):
                await bus.client.request(f"$JS.API.STREAM.PURGE.{STREAMS[3]}", b"", timeout=0.5)


async def test_what_each_user_needs_works(guarded: Path, tmp_path: Path) -> None:
    """What services do beyond their subscriptions; `test_bus_needs.py` runs the services themselves."""
    log = guarded.parent / "nats.log"
    buses = {user: NatsBus(settings_of(guarded, user), user) for user in USERS}
    async with AsyncExitStack() as stack:
        for bus in buses.values():
            await stack.enter_async_context(bus)
        trainer, promoter = buses["trainer"], buses["promoter"]
        await declare_when_reachable(promoter.js, 1)
        denials = log.read_text().count("Violation")
        archive = tmp_path / "archive"
        archive.write_bytes(b"x" * 300_000)
        ref = await trainer.put_bundle(archive, f"sha256:{'0' * 64}")
        await trainer.set_request_state("r", RequestState(state="started", model="m"))
        assert await trainer.request_state("r") is not None
        for user in ("predictor", "promoter"):
            await buses[user].fetch_bundle(ref, tmp_path / user)
            assert (tmp_path / user).read_bytes() == archive.read_bytes()
        started = RunStarted(request_id="r", attempt=1, recipe="r", dataset="d")
        await trainer.publish(started, "needs", event_id="needs", again=True)
        for user in ("client", "promoter"):
            async for received in follow(buses[user], Stream.LIFECYCLE, [RunStarted.subject("needs")], 0):
                assert received.event == started
                break
        await promoter.last(PromotionRequested, "needs")
        await check_backup(buses["backup"], promoter, ref.digest, tmp_path)
        await promoter.delete_bundle(ref.digest)
    assert log.read_text().count("Violation") == denials


async def check_backup(bus: NatsBus, promoter: NatsBus, digest: str, folder: Path) -> None:
    """Take what a backup takes of the bus, and put it back where only the bundle is missing."""
    streams, archives = folder / "streams", folder / "bundles"
    streams.mkdir()
    archives.mkdir()
    counts = await export_streams(bus, streams)
    assert counts["REQUESTS"] == 1
    assert await export_bundles(bus, archives) == set()
    await promoter.delete_bundle(digest)
    await import_bundles(bus, archives)
    await import_streams(bus, streams)
    assert await export_streams(bus, streams) == counts
