"""The scribe: writes down what was applied last of each model, for a start without the bus."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

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

    It has a thread of its own, so that what was applied last is written last.
    """

    def __init__(self, cache: Cache, challengers: Challengers) -> None:
        self._cache = cache
        self._challengers = challengers
        self._applied: dict[str, tuple[Change, bool]] = {}
        self._due: dict[str, asyncio.TimerHandle] = {}
        self._pen = ThreadPoolExecutor(1, thread_name_prefix="scribe")
        self._writing: set[asyncio.Task[None]] = set()
        self._hurried = threading.Event()
        self._is_stopping = False

    def note(self, model: str, change: Change, *, is_loaded: bool) -> None:
        """Begin to write down what has just been applied; what was noted before changes nothing."""
        if self._applied.get(model) == (change, is_loaded):
            return
        self._applied[model] = change, is_loaded
        if model not in self._due:
            self._due[model] = asyncio.get_running_loop().call_later(AFTER_S, self._begin, model)

    async def settled(self) -> None:
        """Write what is noted, without a rest, and wait until it is written."""
        for model in [*self._due]:
            self._begin(model)
        if self._writing:
            self._hurried.set()
            await asyncio.wait(self._writing)
            self._hurried.clear()

    async def stop(self) -> None:
        """Write what is noted; fetch no bundle any more."""
        self._is_stopping = True
        await self._challengers.stop()
        await self.settled()
        self._pen.shutdown(wait=False)

    def _begin(self, model: str) -> None:
        self._due.pop(model).cancel()
        task = asyncio.create_task(self._write(model))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write(self, model: str) -> None:
        last, is_loaded = self._applied[model]
        is_on_disk = await asyncio.get_running_loop().run_in_executor(self._pen, self._remember, model, last)
        if isinstance(last, ModelPromoted) and is_loaded and not is_on_disk and not self._is_stopping:
            await self._challengers.begin(self._keep(model, last))

    def _remember(self, model: str, change: Change) -> bool:
        """Write a change down; then nobody evicts its bundle any more: return whether that is there, if it has one."""
        with about(model, change):
            try:
                self._cache.remember(model, change, pause=partial(self._hurried.wait, REST_S))
                return isinstance(change, ModelPromoted) and self._cache.has(change.bundle)
            except OSError:  # a full disk must not keep a champion from serving
                log.exception("champion is served but not remembered for the next start", model=model)
                return False

    async def _keep(self, model: str, promoted: ModelPromoted) -> None:
        """Have the bundle on disk; it may have to be fetched anew, for which no newer change waits."""
        try:
            await self._challengers.keep(promoted.bundle)
        except (BundleError, OSError):
            log.exception("champion is served but not on disk for the next start", model=model)
