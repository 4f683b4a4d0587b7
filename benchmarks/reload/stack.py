"""The stack that promotes: real PostgreSQL, MLflow, NATS and promoter, a predictor alone on one core."""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.cores import LOAD_CORE, SERVER_CORE
from benchmarks.reload.versions import Two
from shared.bus import NatsBus
from shared.events import BundleRef, ModelPromoted, ModelServing, RunFinished
from shared.settings import BusSettings
from tests.integration.kit import Versions, listening_to, promoter
from tests.integration.predictors import Predictor, predictor_process
from tests.nodes import nats_nodes
from tests.servers import mlflow_server, postgres_server, wait_for


@dataclass(frozen=True)
class Registry:
    """Addresses of where promotions are committed and said."""

    database: str
    tracking: str
    nats: str


@dataclass(frozen=True)
class Servers:
    """A registry, and the predictor that follows it, with its workers."""

    registry: Registry
    predictor: Predictor
    workers: int


@contextmanager
def registry(folder: Path, sync: str) -> Iterator[Registry]:
    """Start PostgreSQL, MLflow and NATS in a new folder; `sync` says when what NATS acknowledged is on the disk.

    All are on the load's core. MLflow, which works most, yields to the load there.
    """
    (bus := folder / "bus").mkdir(parents=True)
    others = tree(psutil.Process()) - {psutil.Process()}
    with nats_nodes(bus, 1, sync) as nodes, postgres_server(folder) as database:
        place((own := tree(psutil.Process()) - others), LOAD_CORE, os.SCHED_OTHER)
        with mlflow_server(folder, database) as tracking:
            place(tree(psutil.Process()) - others - own, LOAD_CORE, os.SCHED_IDLE)
            yield Registry(database, tracking, nodes.url)


@contextmanager
def servers(folder: Path, sync: str, workers: int) -> Iterator[Servers]:
    """Start a registry, and a predictor that has its core alone."""
    with (
        registry(folder, sync) as here,
        predictor_process(here.nats, folder, BATON_REQUEST_TIMEOUT_S="10", PREDICTOR_WORKERS=str(workers)) as predictor,
    ):
        place(tree(predictor.process), SERVER_CORE, os.SCHED_OTHER)
        yield Servers(here, predictor, workers)


def tree(process: psutil.Process) -> set[psutil.Process]:
    """Return a process and all that it started."""
    return {process, *process.children(recursive=True)}


def place(processes: set[psutil.Process], core: int, policy: int) -> None:
    """Place all threads of processes; what they start later goes where they are."""
    for process in processes:
        with suppress(psutil.NoSuchProcess, ProcessLookupError):  # it ended meanwhile
            for thread in process.threads():
                os.sched_setaffinity(thread.id, {core})
                os.sched_setscheduler(thread.id, policy, os.sched_param(0))


class Promotions:
    """Registers versions and promotes them as MLflow's users do, and hears how long the workers took."""

    def __init__(self, stack: Servers, bus: NatsBus, two: Two) -> None:
        self._versions = Versions(stack.registry.tracking, two.name)
        self._predictor = stack.predictor
        self._workers = stack.workers
        self._bus = bus
        self._two = two
        self._made = 0

    async def register(self) -> str:
        """Register the next version, with a bundle that no predictor has seen."""
        self._made += 1
        ref = await self._bus.put_bundle(*await asyncio.to_thread(self._two.archive, self._made))
        version = await asyncio.to_thread(self._versions.plain, ref)
        assert version == str(self._made), "versions are numbered from 1, and their numbers say how they answer"
        return await self._prefetched(version, ref)

    async def promote(self, version: str) -> list[float]:
        """Move the alias; return, for each worker, the milliseconds from the commit to its first answer."""
        found: dict[int, float] = {}
        async with listening_to(self._bus, self._two.name, ModelServing) as ear:
            await asyncio.to_thread(self._versions.promote, version)
            async with asyncio.timeout(120):
                while len(found) < self._workers:
                    event: Any = await ear.next()
                    if event.version == version:
                        found[event.worker] = event.delay_ms
        return list(found.values())

    async def _prefetched(self, version: str, ref: BundleRef) -> str:
        run = RunFinished(request_id=version, run_id=version, version=version, metrics={}, bundle=ref)
        before = self._prefetches()
        await self._bus.publish(run, self._two.name)
        done = lambda: self._prefetches() >= before + self._workers  # noqa: E731
        await asyncio.to_thread(wait_for, f"version {version} to be prefetched", done, 120)
        return version

    def _prefetches(self) -> int:
        lines = self._predictor.log.read_text().splitlines()
        return sum("challenger prefetched" in line and self._two.name in line for line in lines)


class Elsewhere:
    """Promotes a model that the predictor knows nothing of, in a registry and on a bus of its own."""

    def __init__(self, versions: Versions, bus: NatsBus, two: Two) -> None:
        self._versions = versions
        self._bus = bus
        self._two = two
        self._known: deque[str] = deque()

    async def promote(self) -> None:
        """Promote one of two versions, by turns, and wait until the bus has said it."""
        while len(self._known) < 2:
            ref = await self._bus.put_bundle(*await asyncio.to_thread(self._two.archive, len(self._known)))
            self._known.append(await asyncio.to_thread(self._versions.plain, ref))
        self._known.rotate()
        version = self._known[0]
        async with listening_to(self._bus, self._two.name, ModelPromoted) as ear:
            await asyncio.to_thread(self._versions.promote, version)
            async with asyncio.timeout(120):
                event: Any = await ear.next()
                while event.version != version:
                    event = await ear.next()


@asynccontextmanager
async def promotions(stack: Servers, two: Two) -> AsyncIterator[Promotions]:
    """Run a promoter in this process."""
    async with following(stack.registry) as bus:
        yield Promotions(stack, bus, two)


@asynccontextmanager
async def elsewhere(other: Registry, two: Two) -> AsyncIterator[Elsewhere]:
    """Run a promoter of another registry in this process."""
    async with following(other) as bus:
        yield Elsewhere(Versions(other.tracking, two.name), bus, two)


@asynccontextmanager
async def following(place: Registry) -> AsyncIterator[NatsBus]:
    """Run a registry's promoter in this process, and connect to its bus."""
    async with (
        promoter(place.database, place.tracking, place.nats),
        NatsBus(BusSettings(nats_url=place.nats), "benchmark") as bus,
    ):
        yield bus
