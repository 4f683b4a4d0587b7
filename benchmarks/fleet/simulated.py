"""Simulated predictors, some hundreds in this process: the product's own subscription, follower and slot, and no HTTP.

    python -m benchmarks.fleet.simulated '{"nats_url": "nats://...", "folder": "...", "first": 0, "count": 250}'

Each has a connection and two consumers of its own, as a predictor of one worker has. As on one host, they share the
disk cache; they share what verified a bundle, and the connection that reports leave by, too. Says `ready` when all
have caught up, and ends with its input.
"""

import asyncio
import json
import logging
import sys
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import structlog

from services.predictor.cache import Cache
from services.predictor.challengers import Challengers
from services.predictor.follower import Follower
from services.predictor.handlers import subscribe
from services.predictor.meters import Meters
from services.predictor.overheard import Overheard
from services.predictor.reporter import Reporter
from services.predictor.settings import PredictorSettings
from services.predictor.slot import Slots
from services.predictor.verifier import Verifier
from shared.bus import NatsBus
from shared.consumers import caught_up
from shared.service import make_broker, stop_broker
from shared.tasks import end
from shared.verification import VerifiedModel, verify

AT_ONCE = 10  # starting
VERIFYING = threading.Lock()  # a cache alone would let all of them miss at once, and unpack to one folder


@dataclass(frozen=True)
class Task:
    """Where NATS is, where bundles are cached, and the numbers of the predictors."""

    nats_url: str
    folder: str
    first: int
    count: int


class Host:
    """What the predictors of one process share."""

    def __init__(self, task: Task) -> None:
        self.bus = NatsBus(PredictorSettings(nats_url=task.nats_url), "simulated")
        self.meters = Meters()
        self.cache = Cache(Path(task.folder), Verifier(60.0, _verified_once), self.meters, max_bytes=10**9)
        self._task = task

    async def run(self, until: asyncio.Future[bytes]) -> None:
        """Run all predictors until a future is done."""
        self.cache.prepare()
        places = asyncio.Semaphore(AT_ONCE)
        async with self.bus:
            numbers = range(self._task.first, self._task.first + self._task.count)
            predictors = [Simulated(self, self._task.nats_url, number) for number in numbers]
            await asyncio.gather(*(predictor.start(places) for predictor in predictors))
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            await until
            await asyncio.gather(*(predictor.stop() for predictor in predictors))


class Simulated:
    """A predictor of one worker, but for HTTP."""

    def __init__(self, host: Host, nats_url: str, number: int) -> None:
        settings = PredictorSettings(nats_url=nats_url, predictor_name=f"simulated-{number}")
        self._broker = make_broker(settings, settings.instance)
        slots, self._reporter = Slots(), Reporter(host.bus, host.meters, settings)
        challengers = Challengers(host.cache, host.bus, settings.kept_models)
        self._follower = Follower(host.cache, challengers, slots, self._reporter)
        overheard = Overheard(self._follower)  # hears nothing: what is measured is how soon the stream tells so many
        self._champions = subscribe(self._broker, self._follower, challengers, slots=slots, overheard=overheard)

    async def start(self, places: asyncio.Semaphore) -> None:
        """Subscribe, and catch up."""
        async with places:
            await self._broker.start()
            await caught_up(self._champions)
        self._reporting = asyncio.create_task(self._reporter.run())

    async def stop(self) -> None:
        """Take leave of the bus."""
        await end([self._reporting])
        await self._follower.stop()
        await stop_broker(self._broker)


@cache
def _verified(archive: Path, digest: str, folder: Path) -> VerifiedModel:
    return verify(archive, folder, digest)


def _verified_once(archive: Path, _: Path, digest: str) -> VerifiedModel:
    """Verify a bundle once for all predictors of this process, whose processor is not what is measured."""
    with VERIFYING:
        return _verified(archive, digest, archive.parents[1] / "verified" / archive.stem)


async def run(task: Task) -> None:
    """Run until standard input ends."""
    await Host(task).run(asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read))


def main() -> None:
    """Carry out the task in the first argument."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    asyncio.run(run(Task(**json.loads(sys.argv[1]))))


if __name__ == "__main__":
    main()
