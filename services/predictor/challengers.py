"""Challengers: verified models at hand, so that a promotion is one assignment."""

import asyncio
from collections import OrderedDict, defaultdict

from services.predictor.cache import Cache
from shared.bus import Bus
from shared.events import BundleRef
from shared.verification import VerifiedModel

Kept = OrderedDict[str, "asyncio.Task[VerifiedModel]"]  # by digest, the one that was needed last at the end


class Challengers:
    """Verified models by digest: of each model the few that were needed last, champions and former ones included."""

    def __init__(self, cache: Cache, bus: Bus, keep: int) -> None:
        self._cache = cache
        self._bus = bus
        self._keep = keep
        self._kept: dict[str, Kept] = defaultdict(OrderedDict)

    def ready(self, model: str, digest: str) -> bool:
        """Say whether a bundle is verified and at hand."""
        task = self._kept[model].get(digest)
        return task is not None and task.done()

    def forget(self, model: str) -> None:
        """Keep nothing of a model in memory."""
        self._kept.pop(model, None)

    async def keep(self, bundle: BundleRef) -> None:
        """Have the bundle of one that became champion on disk, for the next start. Raise `BundleError`."""
        await self._cache.keep(bundle, self._bus)

    async def get(self, model: str, bundle: BundleRef) -> VerifiedModel:
        """Return a bundle, verified; one that is just being verified is waited for. Raise `BundleError`."""
        kept = self._kept[model]
        if bundle.digest not in kept:
            kept[bundle.digest] = asyncio.create_task(self._cache.verified(bundle, self._bus))
        task = kept[bundle.digest]
        kept.move_to_end(bundle.digest)
        while len(kept) > self._keep:
            kept.popitem(last=False)
        try:
            return await asyncio.shield(task)
        except Exception:
            if kept.get(bundle.digest) is task:  # whoever asks next tries again
                del kept[bundle.digest]
            raise
