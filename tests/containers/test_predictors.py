"""Several predictors behind one address: killed, stopped and added under load, and no request fails."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest

from cli.demo.load import Load, running
from scripts.compose_sizes import docker
from tests.containers.stack import ROW, Stack, logs, own_url, wait_until_healthy
from tests.servers import wait_for

pytestmark = pytest.mark.timeout(3600)
REQUESTS = 300  # before and after each blow


@pytest.fixture
def three(stack: Stack) -> Iterator[Stack]:
    stack.scale(3)
    yield stack
    stack.scale(1)


@pytest.fixture
def one(stack: Stack) -> Iterator[Stack]:
    stack.scale(1)
    yield stack
    stack.scale(1)


@asynccontextmanager
async def loaded(stack: Stack, version: str) -> AsyncIterator[Load]:
    """Ask all the while; each answer has to come, from one version."""
    async with running(stack.load()) as load:
        await answered(load, REQUESTS)
        yield load
        await answered(load, REQUESTS)
    assert load.failures == [], logs(*stack.containers("proxy"))
    assert load.versions == {version: load.requests}
    print(f"\n{load.requests} requests, 0 failed")


async def answered(load: Load, more: int) -> None:
    """Wait until so many more requests were answered."""
    until = load.versions.total() + more
    async with asyncio.timeout(300):
        while load.versions.total() < until and not load.failures:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("blow", ["kill", "stop"])
async def test_no_request_fails_where_a_predictor_goes(three: Stack, version: str, blow: str) -> None:
    async with loaded(three, version) as load:
        await struck(three, blow, load)


async def test_a_batch_is_asked_of_another_predictor_where_its_own_dies(three: Stack, version: str) -> None:
    """All but one whose answer's head has come: what has begun to be answered cannot be asked again."""
    async with running(three.load(rows=500)) as load:  # some 70 kB
        await answered(load, REQUESTS)
        await struck(three, "kill", load)
    print(f"\n{load.requests} requests, cut off {load.failures}")
    assert [failure for failure in load.failures if "without sending complete message body" not in failure] == []
    assert load.versions.keys() == {version}


async def struck(stack: Stack, blow: str, load: Load) -> None:
    """Strike each predictor in turn, and start it again."""
    for container in await asyncio.to_thread(stack.containers, "predictor"):
        await asyncio.to_thread(docker, blow, container)
        await answered(load, REQUESTS)
        await asyncio.to_thread(docker, "start", container)
        await asyncio.to_thread(wait_until_healthy, container)


def test_a_predictor_that_is_stopped_ends_by_itself(three: Stack) -> None:
    """Not by the engine's SIGKILL after the grace period, and not by SIGTERM's default."""
    container = three.containers("predictor")[0]
    docker("stop", "--time", "40", container)
    assert docker("inspect", "--format", "{{.State.ExitCode}}", container) == "0"
    assert "draining" in logs(container)
    docker("start", container)
    wait_until_healthy(container)


async def test_new_predictors_serve_the_champion_before_they_are_ready(one: Stack, version: str) -> None:
    async with loaded(one, version):
        (old,) = one.containers("predictor")
        scaling = asyncio.create_task(asyncio.to_thread(one.scale, 3))
        seen: dict[str, list[tuple[bool, str | None]]] = {}
        while not scaling.done():
            for container in set(await asyncio.to_thread(one.containers, "predictor")) - {old}:
                seen.setdefault(container, []).append(await asyncio.to_thread(looked_at, container))
        await scaling
        assert len(seen) == 2
        for looks in seen.values():
            assert (True, version) in looks
            assert {answer for ready, answer in looks if ready} == {version}
            print(f"\n{len(looks)} looks, ready in {sum(ready for ready, _ in looks)} of them")
        for container in seen:
            await asyncio.to_thread(wait_for, "the proxy to ask the new predictors", asked(container))


def looked_at(container: str) -> tuple[bool, str | None]:
    """Return whether a predictor says that it is ready, and then which version it answers by."""
    try:
        with httpx.Client(base_url=own_url(container), timeout=5, trust_env=False) as client:
            ready = client.get("/ready").status_code == 200
            answer = client.post("/models/heart-disease/predict", json=ROW)
            return ready, answer.json()["version"] if answer.status_code == 200 else None
    except (httpx.HTTPError, ValueError):  # it does not listen yet, or has no address yet
        return False, None


def asked(container: str) -> Callable[[], bool]:
    """Return a check whether a predictor answers more requests than when this was called."""

    def count() -> float:
        metrics = httpx.get(f"{own_url(container)}/metrics", timeout=5, trust_env=False).text
        lines = (line for line in metrics.splitlines() if line.startswith("baton_prediction_seconds_count"))
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    before = count()
    return lambda: count() > before
