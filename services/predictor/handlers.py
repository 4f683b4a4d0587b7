"""Messages in: prefetch what was trained, swap to what was promoted, say what came of it."""

import asyncio
import time
from collections import OrderedDict, defaultdict
from datetime import UTC, datetime

from services.predictor.cache import Cache
from services.predictor.settings import PredictorSettings
from services.predictor.slot import Champion, Slots
from shared.bus import Bus
from shared.errors import BundleError
from shared.events import (
    BundleRef,
    ModelPromoted,
    ModelRejected,
    ModelServing,
    ModelWithdrawn,
    RunFinished,
)
from shared.telemetry import logger
from shared.verification import VerifiedModel

log = logger(__name__)


class Handlers:
    """What one worker does with events; different models do not wait for each other."""

    def __init__(self, bus: Bus, cache: Cache, slots: Slots, settings: PredictorSettings) -> None:
        self._bus = bus
        self._cache = cache
        self._slots = slots
        self._settings = settings
        self.worker = 0
        self._kept: dict[str, OrderedDict[str, VerifiedModel]] = defaultdict(OrderedDict)
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def restore(self) -> None:
        """Serve what the cache remembers, without the bus; what cannot be verified any more is left out."""
        for model, promoted in await asyncio.to_thread(self._cache.remembered):
            try:
                verified = await self._cache.verified(promoted.bundle, None)
            except BundleError as error:
                log.warning("cached champion not served", model=model, check=error.check, error=str(error))
                continue
            self._slots.of(model).swap(_champion(model, promoted, verified))

    async def on_run_finished(self, model: str, event: RunFinished) -> None:
        """Fetch and verify a challenger, so that its promotion is one assignment. A bad one is only logged."""
        self._slots.of(model)
        try:
            verified = await self._cache.verified(event.bundle, self._bus)
        except BundleError as error:
            log.warning(
                "challenger not prefetched", model=model, version=event.version, check=error.check, error=str(error)
            )
            return
        kept = self._kept[model]
        kept[event.bundle.digest] = verified
        while len(kept) > self._settings.kept_challengers:
            kept.popitem(last=False)
        log.info("challenger prefetched", model=model, version=event.version)

    async def on_champion(self, model: str, event: ModelPromoted | ModelWithdrawn) -> None:
        """Apply one change of a model's champion, in the order of generations."""
        async with self._turns[model]:
            if not self._slots.of(model).is_news(event.generation, event.ledger):
                return
            if isinstance(event, ModelPromoted):
                await self._promote(model, event)
            else:
                self._slots.of(model).withdraw(event.generation, event.ledger)
                await asyncio.to_thread(self._cache.forget, model)
                log.info("withdrawn", model=model, generation=event.generation, reason=event.reason)

    async def _promote(self, model: str, event: ModelPromoted) -> None:
        prefetched = self._kept[model].pop(event.bundle.digest, None)
        try:
            verified = prefetched or await self._load(model, event.bundle)
        except BundleError as error:
            await self._reject(model, event, error)
            return
        previous = self._slots.of(model).champion
        started = time.perf_counter()
        champion = _champion(model, event, verified)
        self._slots.of(model).swap(champion)
        swap_ms = (time.perf_counter() - started) * 1e3
        if previous is not None:  # likely to come back: a rollback is a promotion too
            self._kept[model][previous.digest] = previous.verified
        await self._report(model, event, champion, prefetched is not None, swap_ms)
        await asyncio.to_thread(self._cache.remember, event, model)

    async def _load(self, model: str, bundle: BundleRef) -> VerifiedModel:
        current = self._slots.of(model).champion
        if current is not None and current.digest == bundle.digest:
            return current.verified
        return await self._cache.verified(bundle, self._bus)

    async def _report(
        self, model: str, event: ModelPromoted, champion: Champion, prefetched: bool, swap_ms: float
    ) -> None:
        serving = ModelServing(
            predictor=self._settings.predictor_name,
            worker=self.worker,
            version=event.version,
            generation=event.generation,
            ledger=event.ledger,
            prefetched=prefetched,
            load_ms=champion.verified.load_ms,
            verify_ms=champion.verified.verify_ms,
            swap_ms=swap_ms,
            delay_ms=(champion.since - event.committed_at).total_seconds() * 1e3,
        )
        log.info("serving", model=model, version=event.version, generation=event.generation, delay_ms=serving.delay_ms)
        await self._bus.publish(serving, model, event_id=self._event_id("serving", model, event))

    async def _reject(self, model: str, event: ModelPromoted, error: BundleError) -> None:
        log.error("rejected", model=model, version=event.version, check=error.check, error=str(error))
        rejected = ModelRejected(
            predictor=self._settings.predictor_name,
            worker=self.worker,
            version=event.version,
            generation=event.generation,
            ledger=event.ledger,
            check=error.check,
            message=str(error),
        )
        await self._bus.publish(rejected, model)

    def _event_id(self, what: str, model: str, event: ModelPromoted) -> str:
        return f"{self._settings.predictor_name}:{self.worker}:{what}:{event.ledger}:{model}:{event.generation}"


def _champion(model: str, event: ModelPromoted, verified: VerifiedModel) -> Champion:
    now = datetime.now(UTC)
    return Champion(model, event.version, event.generation, event.ledger, event.bundle.digest, verified, now)
