"""Challengers: verified models at hand, so that a promotion is one assignment."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar
from weakref import WeakSet

from services.predictor.cache import Cache
from shared.bus import Bus
from shared.events import BundleRef
from shared.tasks import end
from shared.verification import VerifiedModel

PREFETCHES = 4  # at once: fewer than the verifier has places, for a promotion must find one

T = TypeVar("T")
Kept = OrderedDict[str, "asyncio.Task[VerifiedModel]"]  # by digest, the one that was needed last at the end


class Challengers:
    """Verified models by digest: of each model the few that were needed last, champions and former ones included.

    Of a model that is withdrawn, those stay that wait for their first promotion.
    """

    def __init__(self, cache: Cache, bus: Bus, keep: int) -> None:
        self._cache = cache
        self._bus = bus
        self._keep = keep
        self._kept: dict[str, Kept] = defaultdict(OrderedDict)
        self._promoted: WeakSet[asyncio.Task[VerifiedModel]] = WeakSet()  # those of bundles that a promotion asked for
        self._prefetches = asyncio.Semaphore(PREFETCHES)
        self._begun: set[asyncio.Task[Any]] = set()

    def at_hand(self, model: str, digest: str) -> VerifiedModel | None:
        """Return a bundle that was verified before, and is needed again; None if it has to be waited for."""
        kept = self._kept[model]
        task = kept.get(digest)
        if task is None or not task.done() or task.cancelled() or task.exception():
            return None
        kept.move_to_end(digest)
        self._promoted.add(task)
        return task.result()

    def forget(self, model: str) -> None:
        """Keep nothing of a model in memory."""
        self._kept.pop(model, None)

    def retire(self, model: str) -> None:
        """Keep nothing in memory of a model that has no champion any more, but what may become one yet."""
        kept = self._kept[model]
        for digest in [digest for digest, task in kept.items() if task in self._promoted]:
            del kept[digest]

    async def keep(self, bundle: BundleRef) -> None:
        """Have the bundle of one that became champion on disk, for the next start. Raise `BundleError`."""
        await self._cache.keep(bundle, self._bus)

    async def get(self, model: str, bundle: BundleRef) -> VerifiedModel:
        """Return the bundle of a champion, verified; one that is just being verified is waited for.

        Raise `BundleError`. Whoever stops waiting leaves the getting to go on: it may be a champion yet.
        """
        task = self._getting(model, bundle)
        self._promoted.add(task)
        return await asyncio.shield(task)

    async def prefetch(self, model: str, bundle: BundleRef) -> None:
        """Have a bundle at hand, a few at a time, for no promotion waits for these. Raise `BundleError`."""
        async with self._prefetches:
            await asyncio.shield(self._getting(model, bundle))

    def _getting(self, model: str, bundle: BundleRef) -> "asyncio.Task[VerifiedModel]":
        kept = self._kept[model]
        if bundle.digest not in kept:
            kept[bundle.digest] = task = self.begin(self._cache.verified(bundle, self._bus))
            task.add_done_callback(partial(_drop_failed, kept, bundle.digest))
        task = kept[bundle.digest]
        kept.move_to_end(bundle.digest)
        while len(kept) > self._keep:
            kept.popitem(last=False)
        return task

    def begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Do something in the background, at most until the worker stops."""
        task = asyncio.create_task(work)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        return task

    async def stop(self) -> None:
        """Leave what is not at hand yet."""
        await end(self._begun)


def _drop_failed(kept: Kept, digest: str, task: "asyncio.Task[VerifiedModel]") -> None:
    """Let whoever asks next try again."""
    if (task.cancelled() or task.exception()) and kept.get(digest) is task:
        del kept[digest]
