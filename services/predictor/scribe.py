"""The scribe: writes down what was applied last of each model, for a start without the bus."""

import asyncio
from collections import defaultdict
from contextlib import suppress

from services.predictor.cache import Cache
from services.predictor.challengers import Challengers
from shared.errors import BundleError
from shared.events import ModelPromoted, ModelWithdrawn
from shared.telemetry import logger

REST_S = 0.02  # after a swap: whoever asked meanwhile is answered first

Change = ModelPromoted | ModelWithdrawn

log = logger(__name__)


class Scribe:
    """Remembers changes on disk a moment after they were applied, and has the bundles of what is served there."""

    def __init__(self, cache: Cache, challengers: Challengers) -> None:
        self._cache = cache
        self._challengers = challengers
        self._applied: dict[str, tuple[Change, bool]] = {}
        self._pens: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._writing: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    def note(self, model: str, change: Change, *, is_loaded: bool) -> None:
        """Begin to write down what has just been applied; what was noted before changes nothing."""
        if self._applied.get(model) == (change, is_loaded):
            return
        self._applied[model] = change, is_loaded
        served = change if isinstance(change, ModelPromoted) and is_loaded else None
        task = asyncio.create_task(self._write(model, served))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def settled(self) -> None:
        """Wait until everything noted so far is written."""
        if self._writing:
            await asyncio.wait(self._writing)

    async def stop(self) -> None:
        """Write what is noted, without a rest; fetch no bundle any more."""
        self._stopping.set()
        await self._challengers.stop()
        await asyncio.gather(*self._writing, return_exceptions=True)

    async def _write(self, model: str, served: ModelPromoted | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(REST_S):
                await self._stopping.wait()
        async with self._pens[model]:  # in order: what was applied last is written last
            last, _ = self._applied[model]
            is_on_disk = await asyncio.to_thread(self._remember, model, last)
        if served is last and not is_on_disk and not self._stopping.is_set():
            await self._challengers.begin(self._keep(model, served))

    def _remember(self, model: str, change: Change) -> bool:
        """Write a change down; then nobody evicts its bundle any more: return whether that is there, if it has one."""
        try:
            self._cache.remember(model, change)
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
