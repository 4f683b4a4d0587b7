"""Three NATS servers as one bus, with the configuration that ships: who may join and use it, what it survives."""

import asyncio
import os
import secrets
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import httpx
import pytest
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.errors import ServiceUnavailableError

from cli.demo import load
from shared.bus import NatsBus
from shared.errors import ForbiddenError
from shared.event import Stream
from shared.events import PromotionRequested, TrainRequested
from shared.settings import BusSettings
from shared.streams import ALL, declare_all, declare_when_reachable
from shared.tasks import end
from tests.certificates import Authority
from tests.chaos.journal import Journal
from tests.chaos.promotions import Promotions
from tests.chaos.publisher import Publisher
from tests.chaos.siege import siege
from tests.integration.models import Model
from tests.integration.predictors import WORKERS, predictor_process
from tests.nodes import Node, Nodes, nats_nodes
from tests.servers import free_port, wait_for

REPLICAS = 3
ROUNDS = int(os.environ.get("BATON_TEST_ROUNDS", "1"))  # how often each server is killed

pytestmark = pytest.mark.timeout(300 + 120 * ROUNDS)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with nats_nodes(tmp_path_factory.mktemp("nodes"), REPLICAS) as running:
        yield running


@pytest.fixture
async def bus(nodes: Nodes) -> AsyncIterator[NatsBus]:
    async with NatsBus(BusSettings(nats_url=nodes.url), "test") as opened:
        yield opened


async def copies(bus: NatsBus) -> dict[str, int]:
    """Return on how many servers each stream is, and up to date."""
    found = {}
    for name in ALL:
        cluster = (await bus.js.stream_info(name)).cluster
        assert cluster is not None
        found[name] = 1 + sum(bool(peer.current) for peer in cluster.replicas or [])
    return found


async def until_copied(bus: NatsBus) -> None:
    async with asyncio.timeout(60):
        while await copies(bus) != dict.fromkeys(ALL, REPLICAS):
            await asyncio.sleep(0.1)


async def test_a_bus_that_grows_into_a_cluster_has_a_copy_of_everything_on_each_server(bus: NatsBus) -> None:
    await declare_when_reachable(bus.js, 1)
    assert await copies(bus) == dict.fromkeys(ALL, 1)
    await declare_all(bus.js, REPLICAS)
    await until_copied(bus)


def one_by_one(nodes: Nodes, user: str) -> list[BusSettings]:
    """Return how a user reaches each server and no other."""
    told = {name.removeprefix("BATON_").lower(): value for name, value in nodes.environment(user).items()}
    whole = BusSettings.model_validate(told)
    return [whole.model_copy(update={"nats_url": url}) for url in whole.nats_servers]


async def test_users_have_their_rights_on_every_server(nodes: Nodes, bus: NatsBus) -> None:
    await declare_when_reachable(bus.js, REPLICAS)
    for settings in one_by_one(nodes, "client"):
        async with NatsBus(settings, "client") as client:
            await client.publish(PromotionRequested(actor="ann"), "m")
    async with NatsBus(one_by_one(nodes, "predictor")[-1], "predictor") as predictor:
        with pytest.raises(ForbiddenError, match=r"publish train\.requested\.m"):
            await predictor.publish(TrainRequested(recipe="r", dataset="d"), "m")


def certificates(folder: Path) -> Path:
    """Make certificates for this machine, named as hosts have them; return their authority's."""
    authority = Authority(folder, "authority")
    for made, shipped in zip(authority.signed("127.0.0.1"), ("nats.crt", "nats.key"), strict=True):
        made.rename(folder / shipped)
    return authority.ca.rename(folder / "ca.crt")


def demands_tls(node: Node) -> bool:
    """Say whether a server wants TLS of clients, and certificates of other servers."""
    told = httpx.get(f"http://127.0.0.1:{node.monitor}/varz").json()
    return bool(told["tls_required"] and told["cluster"]["tls_required"] and told["cluster"]["tls_verify"])


async def test_servers_and_services_speak_tls_only_where_it_is_asked_for(tmp_path: Path) -> None:
    ca = certificates(tmp_path)
    with nats_nodes(tmp_path / "nodes", REPLICAS, tls=tmp_path) as nodes:
        assert all(map(demands_tls, nodes.members))
        trusting = BusSettings(nats_url=nodes.url, nats_tls_ca=ca, nats_tls_first=True)
        async with NatsBus(trusting, "test") as bus:
            await declare_when_reachable(bus.js, REPLICAS)
            await until_copied(bus)


def test_no_server_joins_without_the_secret(nodes: Nodes, tmp_path: Path) -> None:
    folder = tmp_path / "stranger"
    shutil.copytree(nodes.folder / "etc", folder / "etc")
    shutil.copytree(nodes.folder / "run", folder / "run")
    routes = folder / "run/baton/routes.conf"
    password = routes.read_text().split('"')[1]
    routes.write_text(routes.read_text().replace(password, secrets.token_urlsafe(24)))
    stranger = Node("stranger", folder)
    stranger.start(nodes.sync)
    try:
        log = folder / "stranger.log"
        wait_for(f"a refusal (see {log})", lambda: "Authorization Violation" in log.read_text())
        for node in nodes.members:
            routed = httpx.get(f"http://127.0.0.1:{node.monitor}/routez").json()["routes"]
            assert "stranger" not in {route["remote_name"] for route in routed}
    finally:
        stranger.end(signal.SIGKILL)


@pytest.mark.parametrize("place", ["the same host", "another host"])
async def test_a_server_that_lost_its_disk_gets_everything_from_the_others(
    nodes: Nodes, bus: NatsBus, place: str
) -> None:
    await declare_when_reachable(bus.js, REPLICAS)
    sequence = (await bus.publish(TrainRequested(recipe="r", dataset="d"), "m")).sequence
    first, *others = nodes.members
    await asyncio.to_thread(first.end, signal.SIGKILL)
    await asyncio.to_thread(shutil.rmtree, nodes.folder / first.name)
    if place == "another host":
        first.port, first.monitor, first.routes = free_port(), free_port(), free_port()
    nodes.start(first)
    await asyncio.to_thread(nodes.wait_until_healthy)
    await until_copied(bus)
    await asyncio.to_thread(others[0].end, signal.SIGKILL)  # now the one that lost all has to be believed
    try:
        async with asyncio.timeout(60):
            while (await stored_message(bus, sequence)) is None:
                await asyncio.sleep(0.1)
    finally:
        nodes.start(others[0])
        await asyncio.to_thread(nodes.wait_until_healthy)


async def stored_message(bus: NatsBus, sequence: int) -> bytes | None:
    try:
        return (await bus.js.get_msg(Stream.TRAINING, sequence)).data
    except (NatsTimeoutError, ServiceUnavailableError):
        return None


async def test_each_server_may_be_killed_under_load(nodes: Nodes, bus: NatsBus, tmp_path: Path) -> None:
    await declare_when_reachable(bus.js, REPLICAS)
    model, share = Model(bus, tmp_path), iter(range(1, 100))
    publisher = Publisher(bus, model.name)

    async def promote() -> str:
        known = next(share) / 100
        return await model.promote(await model.bundle(known), known)

    journal = Journal(tmp_path / "journal.log")
    promotions = Promotions(bus, model.name, promote, workers=2 * WORKERS, journal=journal)
    with ExitStack() as predictors:
        urls = []
        for name in ("predictor-1", "predictor-2"):
            (tmp_path / name).mkdir()
            environment = nodes.environment("predictor")
            running = predictor_process(environment.pop("BATON_NATS_URL"), tmp_path / name, None, **environment)
            urls.append(predictors.enter_context(running).url)
        await promotions.reach_all()
        loads = [load.Load(f"{url}/models/{model.name}/predict", {"x": 1}) for url in urls]
        publishing = asyncio.create_task(publisher.run())
        async with AsyncExitStack() as asking:
            for one in loads:
                await asking.enter_async_context(load.running(one))
            for _ in range(ROUNDS):
                await siege(nodes, promotions, journal)
        await end([publishing])
    asked = sum(one.requests for one in loads)
    longest_s, swaps = max(promotions.delays_s), len(promotions.delays_s)
    print(f"\n{ROUNDS} rounds, {swaps} swaps, {asked} predictions, {len(publisher.acknowledged)} events stored")
    print(f"longest: {longest_s:.1f} s from a commit to a worker, {publisher.longest_s:.1f} s until one was stored")
    assert [failure for one in loads for failure in one.failures] == []
    assert promotions.deaf == []
    assert await publisher.faults() == []
