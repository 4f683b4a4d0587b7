"""The scribe: writes down what was applied last of each model, for a start without the bus."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from services.predictor.background import give_way
from services.predictor.cache import Cache
from services.predictor.challengers import Challengers
from services.predictor.courtesy import REST_S
from shared.errors import BundleError
from shared.events import ModelPromoted, ModelWithdrawn
from shared.telemetry import about, logger

AFTER_S = 5 * REST_S  # what is to be said of a swap is said by then

Change = ModelPromoted | ModelWithdrawn

log = logger(__name__)


class Scribe:
    """Remembers changes on disk a moment after they were applied, and has the bundles of what is served there.

    A thread of its own, of low priority, writes one model after the other, each time what was applied last. It rests
    between steps unless somebody waits.
    """

    def __init__(self, cache: Cache, challengers: Challengers) -> None:
        self._cache = cache
        self._challengers = challengers
        self._applied: dict[str, tuple[Change, bool]] = {}
        self._due: dict[str, asyncio.TimerHandle] = {}
        self._pen = ThreadPoolExecutor(1, thread_name_prefix="scribe", initializer=give_way)
        self._queued: set[str] = set()  # models that wait for the pen
        self._writing: set[asyncio.Task[None]] = set()
        self._keeping: set[asyncio.Task[None]] = set()
        self._who_wait = 0
        self._hurry = threading.Event()
        self._is_stopping = False

    def note(self, model: str, change: Change, *, is_loaded: bool) -> None:
        """Begin to write down what has just been applied; what was noted before changes nothing."""
        if self._applied.get(model) == (change, is_loaded):
            return
        self._applied[model] = change, is_loaded
        if model not in self._due:
            self._due[model] = asyncio.get_running_loop().call_later(AFTER_S, self._begin, model)

    async def settled(self) -> None:
        """Write what is noted, without a rest; wait until it is written, and the bundles are there."""
        for model in [*self._due]:
            self._begin(model)
        self._who_wait += 1
        self._hurry.set()
        try:
            await _all(self._writing)
        finally:
            self._who_wait -= 1
            if not self._who_wait:
                self._hurry.clear()
        await _all(self._keeping)

    async def stop(self) -> None:
        """Write what is noted; fetch no bundle any more."""
        self._is_stopping = True
        await self._challengers.stop()
        await self.settled()
        self._pen.shutdown(wait=False)

    def _begin(self, model: str) -> None:
        self._due.pop(model).cancel()
        if model not in self._queued:  # else its turn comes yet
            self._queued.add(model)
            _until_done(asyncio.create_task(self._write(model)), self._writing)

    async def _write(self, model: str) -> None:
        last, is_needed = await asyncio.get_running_loop().run_in_executor(self._pen, self._remember, model)
        if isinstance(last, ModelPromoted) and is_needed and not self._is_stopping:
            _until_done(self._challengers.begin(self._keep(model, last)), self._keeping)

    def _remember(self, model: str) -> tuple[Change, bool]:
        """Write down a model's last change; return it, and whether its bundle is served and not on disk.

        Once it is written, nobody evicts the bundle any more.
        """
        self._queued.discard(model)
        change, is_loaded = self._applied[model]
        with about(model, change):
            try:
                self._cache.remember(model, change, pause=self._pause)
                return change, is_loaded and isinstance(change, ModelPromoted) and not self._cache.has(change.bundle)
            except OSError:  # a full disk must not keep a champion from serving
                log.exception("champion is served but not remembered for the next start", model=model)
                return change, is_loaded

    def _pause(self) -> None:
        if not self._queued:
            self._hurry.wait(REST_S)

    async def _keep(self, model: str, promoted: ModelPromoted) -> None:
        """Have the bundle on disk; it may have to be fetched anew, for which no newer change waits."""
        with about(model, promoted):
            try:
                await self._challengers.keep(promoted.bundle)
            except (BundleError, OSError):
                log.exception("champion is served but not on disk for the next start", model=model)


def _until_done(task: asyncio.Task[None], tasks: set[asyncio.Task[None]]) -> None:
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def _all(tasks: set[asyncio.Task[None]]) -> None:
    if tasks:
        await asyncio.wait(tasks)
