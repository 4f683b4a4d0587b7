"""A worker's parts over the bus in memory."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.predictor.cache import Cache
from services.predictor.challengers import Challengers
from services.predictor.follower import Follower
from services.predictor.loader import Loader
from services.predictor.meters import Meters
from services.predictor.reporter import Reporter
from services.predictor.settings import PredictorSettings
from services.predictor.slot import Slots
from services.predictor.verifier import Verifier, Verify
from shared.event import Event
from shared.events import BundleRef, ModelPromoted, ModelWithdrawn
from shared.fakes import InMemoryBus
from shared.verification import verify
from tests import bundles
from tests.unit.predictor.api import Predictor

of_threads = pytest.mark.skipif(sys.platform != "linux", reason="priorities are those of processes")


def niceness() -> int:
    """Return the priority of the thread that asks, as Linux numbers it."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def promoted(bundle: BundleRef, version: str, generation: int, ledger: str = "l") -> ModelPromoted:
    return ModelPromoted(
        version=version, generation=generation, ledger=ledger, bundle=bundle,
        actor="a", reason="r", committed_at=datetime.now(UTC),
    )  # fmt: skip


def withdrawn(generation: int, ledger: str = "l") -> ModelWithdrawn:
    return ModelWithdrawn(generation=generation, ledger=ledger, actor="a", reason="r", committed_at=datetime.now(UTC))


@dataclass
class Parts:
    """The parts of a worker that follow champions, and the bus they talk to."""

    folder: Path
    bus: InMemoryBus
    verify: Verify = verify
    deadline_s: float = 30
    cache_bytes: int = 10**9
    only: frozenset[str] | None = None
    are_lazy: bool = False
    most_loaded: int | None = None

    def __post_init__(self) -> None:
        settings = PredictorSettings(predictor_name="here")
        self.meters = Meters()
        self.cache = Cache(self.folder / "cache", Verifier(self.deadline_s, self.verify), self.meters, self.cache_bytes)
        self.cache.prepare()
        self.slots = Slots(only=self.only, are_lazy=self.are_lazy)
        self.challengers = Challengers(self.cache, self.bus, keep=2)
        self.reporter = Reporter(self.bus, self.meters, settings)
        self.follower = Follower(self.cache, self.challengers, self.slots, self.reporter, retry_s=0.01)
        self.loader = Loader(self.follower, self.challengers, self.slots, self.most_loaded)

    async def bundle(self, share: float, **changed: float) -> BundleRef:
        """Store a bundle that answers class 1 with probability `share`."""
        return await self.bus.put_bundle(*bundles.classifier(self.folder, share, **changed))

    async def reported(self, kind: type[Event], count: int) -> list[tuple[str, Event]]:
        """Publish what the reporter queued, until there are so many reports of a kind."""
        reporting = asyncio.create_task(self.reporter.run())
        try:
            await until(lambda: len(self.bus.events(kind)) >= count, f"{count} of {kind.type}")
        finally:
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)
        return self.bus.events(kind)


async def until(check: Callable[[], bool], what: str, deadline_s: float = 10) -> None:
    try:
        async with asyncio.timeout(deadline_s):
            while not check():
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"waited {deadline_s:.0f} s in vain for {what}")


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path, InMemoryBus(tmp_path))


@pytest.fixture
async def predictor(tmp_path: Path) -> AsyncIterator[Predictor]:
    made = Predictor(tmp_path)
    async with made.client:
        yield made
    made.executor.close()
