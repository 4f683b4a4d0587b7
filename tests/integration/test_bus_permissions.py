"""The shipped configuration of NATS on a real server: who may publish and hear what."""

import asyncio
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.errors import TimeoutError as NatsTimeoutError

from compose.make_secrets import make
from shared.bus import NatsBus
from shared.errors import ForbiddenError
from shared.events import PromotionRequested, TrainRequested
from shared.settings import BusSettings
from shared.streams import declare_when_reachable
from tests.servers import answers, free_port, running, wait_for

SHIPPED = Path(__file__).parents[2] / "compose" / "nats"
USERS = ("trainer", "promoter", "predictor", "client")
STREAMS = ("TRAINING", "COMMANDS", "LIFECYCLE", "CHAMPIONS", "OBJ_MODELS", "KV_REQUESTS")

MAY_PUBLISH = {
    "train.requested.m": {"client"},
    "train.cancelled.m": {"client"},
    "promotion.requested.m": {"client", "promoter"},
    "run.started.m": {"trainer"},
    "run.finished.m": {"trainer"},
    "run.failed.m": {"trainer"},
    "promotion.decided.m": {"promoter"},
    "model.promoted.m": {"promoter"},
    "model.withdrawn.m": {"promoter"},
    "model.serving.m": {"predictor"},
    "model.rejected.m": {"predictor", "promoter"},
    "predictor.alive": {"predictor"},
    "champions.wanted.m": {"promoter"},
    "$KV.REQUESTS.r": {"trainer"},
    "$O.MODELS.C.x": {"trainer", "promoter"},
    "$JS.API.STREAM.CREATE.MINE": {"promoter"},
    "$JS.API.STREAM.UPDATE.CHAMPIONS": {"promoter"},
    "$JS.API.STREAM.DELETE.CHAMPIONS": {"promoter"},
    "$JS.API.STREAM.PURGE.CHAMPIONS": {"promoter"},
    "$JS.API.STREAM.MSG.DELETE.CHAMPIONS": {"promoter"},
    "$JS.API.CONSUMER.CREATE.TRAINING.trainer.train.requested.>": {"trainer", "promoter"},
    "$JS.API.CONSUMER.CREATE.COMMANDS.x.promotion.requested.>": {"promoter"},
    "$JS.API.CONSUMER.CREATE.CHAMPIONS": {"predictor", "client", "promoter"},
    "$JS.API.CONSUMER.CREATE.KV_REQUESTS": {"promoter"},
}
MAY_HEAR = {
    "_INBOX.x": set(USERS),
    "run.>": {"client"},
    "promotion.decided.>": {"client"},
    "model.promoted.>": {"client"},
    "model.serving.>": {"client", "promoter"},
    "predictor.alive": {"client", "promoter"},
    "train.cancelled.>": {"client", "trainer"},
    "champions.wanted.>": {"predictor"},
    "train.requested.>": set(),
    "promotion.requested.>": set(),
    "$JS.API.>": set(),
    "$O.>": set(),
    ">": set(),
}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run NATS with the files that its container gets, laid out as there; yield the folder of the secrets."""
    root, port, monitor = tmp_path_factory.mktemp("guarded"), free_port(), free_port()
    for user in ("postgres", "nats", "mlflow", *USERS):
        (root / "secrets" / user).mkdir(parents=True)
    make(root / "secrets")
    shutil.copytree(SHIPPED, root / "etc" / "nats")
    configuration = root / "etc" / "nats" / "nats.conf"
    configuration.write_text(configuration.read_text().replace("/jetstream", str(root / "jetstream")))
    shutil.copytree(root / "secrets" / "nats", root / "run" / "baton")
    for user in USERS:
        url = root / "secrets" / user / "BATON_NATS_URL"
        url.chmod(0o644)
        url.write_text(url.read_text().replace("@nats:4222", f"@127.0.0.1:{port}"))
    binary = str(Path(sys.executable).parent / "nats-server")
    places = ["-a", "127.0.0.1", "-p", str(port), "-m", str(monitor)]
    with running([binary, "-c", str(configuration), *places], root / "nats.log"):
        wait_for("nats-server", answers(f"http://127.0.0.1:{monitor}/healthz"))
        yield root / "secrets"


def settings(guarded: Path, user: str) -> BusSettings:
    return BusSettings(nats_url=(guarded / user / "BATON_NATS_URL").read_text(), declare_streams=user == "promoter")


@asynccontextmanager
async def connected(guarded: Path, user: str) -> AsyncIterator[tuple[NatsBus, list[str]]]:
    """Connect as a user; the list fills with what the server says that it does not allow."""
    said: list[str] = []
    async with NatsBus(settings(guarded, user), user) as bus:

        async def note(error: Exception) -> None:
            said.append(str(error).lower())

        bus.client._error_cb = note
        yield bus, said


async def check(bus: NatsBus, said: list[str], table: dict[str, set[str]], user: str) -> None:
    """Wait for every denial that has to come, then see that no other came."""
    forbidden = {subject for subject, allowed in table.items() if user not in allowed}
    missing = forbidden
    try:
        async with asyncio.timeout(10):
            while missing:
                await bus.client.flush()
                missing = {subject for subject in forbidden if not is_denied(said, subject)}
    except TimeoutError:
        pytest.fail(f"{user} was not denied {missing}")
    assert [subject for subject in table if subject not in forbidden and is_denied(said, subject)] == []


def is_denied(said: list[str], subject: str) -> bool:
    return any(f'"{subject.lower()}"' in line for line in said)


@pytest.mark.parametrize("user", USERS)
async def test_who_may_publish_what(guarded: Path, user: str) -> None:
    async with connected(guarded, user) as (bus, said):
        for subject in MAY_PUBLISH:
            await bus.client.publish(subject, b"")
        await check(bus, said, MAY_PUBLISH, user)


@pytest.mark.parametrize("user", USERS)
async def test_who_may_hear_what(guarded: Path, user: str) -> None:
    async with connected(guarded, user) as (bus, said):
        for subject in MAY_HEAR:
            await bus.client.subscribe(subject)
        await check(bus, said, MAY_HEAR, user)


async def test_a_denied_publish_is_a_clear_error(guarded: Path) -> None:
    async with NatsBus(settings(guarded, "promoter"), "promoter") as promoter:
        await declare_when_reachable(promoter.js, 1)
    async with NatsBus(settings(guarded, "client"), "client") as client:
        await client.publish(PromotionRequested(actor="ann"), "m")
    async with NatsBus(settings(guarded, "predictor"), "predictor") as predictor:
        with pytest.raises(ForbiddenError, match=r"does not let this user publish train\.requested\.m"):
            await predictor.publish(TrainRequested(recipe="r", dataset="d"), "m")


async def test_a_wrong_password_is_a_clear_error_that_does_not_tell_it(guarded: Path) -> None:
    wrong = secrets.token_urlsafe(8)
    url = settings(guarded, "client").nats_url
    password = url.split(":")[2].split("@")[0]
    with pytest.raises(ForbiddenError, match="does not know this user or password") as refused:
        async with asyncio.timeout(20):
            await NatsBus(BusSettings(nats_url=url.replace(password, wrong)), "x").open()
    assert wrong not in str(refused.value)


async def test_every_stream_is_seen_by_services_that_make_none(guarded: Path) -> None:
    async with NatsBus(settings(guarded, "promoter"), "promoter") as promoter:
        await declare_when_reachable(promoter.js, 1)
    for user in ("trainer", "predictor"):
        async with NatsBus(settings(guarded, user), user) as bus:
            for stream in STREAMS:
                assert (await bus.js.stream_info(stream)).config.name == stream
            with pytest.raises(NatsTimeoutError):
                await bus.client.request(f"$JS.API.STREAM.PURGE.{STREAMS[3]}", b"", timeout=0.5)
