"""The follower: brings each model to the last change of its champion that it heard of."""

import asyncio
import time
from collections import defaultdict
from datetime import UTC, datetime
from functools import partial

from services.predictor.cache import Cache
from services.predictor.challengers import Challengers
from services.predictor.order import Order
from services.predictor.reporter import Reporter
from services.predictor.scribe import Change, Scribe
from services.predictor.slot import Champion, Slot, Slots
from shared.errors import BundleError
from shared.events import ModelPromoted, ModelWithdrawn
from shared.tasks import end
from shared.telemetry import about, logger
from shared.verification import VerifiedModel

LONGEST_DELAY_S = 30.0
MOST_DOUBLINGS = 10  # floats end at a thousand or so

log = logger(__name__)


class Follower:
    """Applies changes one by one per model; different models do not wait for each other.

    A change that is overtaken by a newer one is left out, and its bundle no longer waited for. A bundle that cannot be
    downloaded is asked for again until it is there or a newer change comes; one that fails a check is rejected for
    good. Whatever else goes wrong is tried again. Champions of lazy slots are only taken note of, until somebody asks
    for the model.
    """

    def __init__(
        self, cache: Cache, challengers: Challengers, slots: Slots, reporter: Reporter, *, retry_s: float = 1.0
    ) -> None:
        self._cache = cache
        self._challengers = challengers
        self._slots = slots
        self._reporter = reporter
        self._retry_s = retry_s
        self._orders: dict[str, Order] = defaultdict(Order)
        self._wanted: dict[str, Change] = {}
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._getting: dict[str, asyncio.Task[VerifiedModel]] = {}
        self._applying: dict[asyncio.Task[None], str] = {}
        self._scribe = Scribe(cache, challengers)
        self._stopping = False

    async def restore(self) -> None:
        """Serve what the cache remembers, without the bus; what cannot be verified any more is left to the bus."""
        remembered = await asyncio.to_thread(self._cache.remembered)
        await asyncio.gather(
            *(self._restore(model, change) for model, change in remembered if self._slots.serves(model))
        )

    async def _restore(self, model: str, change: Change) -> None:
        with about(model, change):
            await self._try_to_serve_again(model, change)

    async def _try_to_serve_again(self, model: str, change: Change) -> None:
        try:
            await self._serve_again(model, change)
        except BundleError as error:
            log.warning("cached champion not served", model=model, check=error.check, error=str(error))
        except Exception:  # one model must not keep the others from being served
            log.exception("cached champion not served", model=model)
        else:
            self._orders[model].advance(change.ledger, change.generation)
            self._wanted[model] = change

    async def _serve_again(self, model: str, change: Change) -> None:
        slot = self._slots.of(model)
        if isinstance(change, ModelWithdrawn):
            slot.withdraw(change.ledger, change.generation)
            self._reporter.withdrawn(model, change)
            return
        if slot.is_lazy:
            self._announce(slot, change)
            return
        champion = _champion(model, change, await self._cache.verified(change.bundle, None))
        if slot.swap(champion):
            self._reporter.serving(change, champion, prefetched=False, swap_ms=None)

    def follow(self, model: str, change: Change) -> None:
        """Take note of a change of a model's champion; what is not news, or not served here, changes nothing."""
        if self._stopping or not self._slots.serves(model):
            return
        self._slots.of(model)
        if self._orders[model].advance(change.ledger, change.generation):
            self._wanted[model] = change
            if overtaken := self._getting.get(model):
                overtaken.cancel()
            is_served = False
            try:
                is_served = self._served_at_once(model, change)
            finally:
                if not is_served:  # whatever became of the shorter way: the longer one tries again
                    self._begin(model, change, attempt=1)

    async def wake(self, model: str) -> None:
        """Load the champion of a lazy model, the newest that comes meanwhile; from now on follow it as an eager one."""
        slot = self._slots.of(model)
        slot.is_lazy = False
        self._begin(model, self._wanted[model], attempt=1)
        while slot.champion is None and (applying := [task for task, of in self._applying.items() if of == model]):
            await asyncio.wait(applying, return_when=asyncio.FIRST_COMPLETED)

    def is_settled(self, champion: Champion) -> bool:
        """Tell whether a champion is the last that was heard of, and nothing is being done about it."""
        wanted = self._wanted[champion.model]
        is_last = (wanted.ledger, wanted.generation) == (champion.ledger, champion.generation)
        return is_last and champion.model not in self._applying.values()

    def rest(self, model: str) -> None:
        """Unload a champion that is settled, until somebody asks for the model again."""
        wanted = self._wanted[model]
        if isinstance(wanted, ModelPromoted):
            self._slots.of(model).unload(wanted)

    def knows(self, model: str, ledger: str, generation: int) -> bool:
        """Tell whether a change, or a later one, was taken note of, or need not be."""
        return not self._slots.serves(model) or not self._orders[model].is_news(ledger, generation)

    async def settled(self) -> None:
        """Wait until everything taken note of so far was applied and written down, or tried once and failed."""
        if self._applying:
            await asyncio.wait(self._applying)
        await self._scribe.settled()

    async def stop(self) -> None:
        """Leave what is not applied yet to the next start; what is, is written down for it."""
        self._stopping = True
        await end(self._applying)
        await self._scribe.stop()

    def _begin(self, model: str, change: Change, attempt: int) -> asyncio.Task[None]:
        with about(model, change):  # its lines are about the change, whoever set it off
            task = asyncio.create_task(self._apply(model, change, attempt))
        self._applying[task] = model
        task.add_done_callback(partial(self._ended, model, change, attempt))
        return task

    def _ended(self, model: str, change: Change, attempt: int, task: asyncio.Task[None]) -> None:
        self._applying.pop(task, None)
        if not task.cancelled() and (error := task.exception()):
            log.error("a change of a champion was not applied and is tried again", model=model, exc_info=error)
            self._begin_later(model, change, attempt)

    def _begin_later(self, model: str, change: Change, attempt: int) -> None:
        delay = min(self._retry_s * 2.0 ** min(attempt - 1, MOST_DOUBLINGS), LONGEST_DELAY_S)
        asyncio.get_running_loop().call_later(delay, self._begin, model, change, attempt + 1)

    async def _apply(self, model: str, change: Change, attempt: int) -> None:
        async with self._turns[model]:
            slot = self._slots.of(model)
            if self._stopping or self._wanted[model] is not change:
                return
            if isinstance(change, ModelWithdrawn):
                slot.withdraw(change.ledger, change.generation)
                self._challengers.retire(model)
                self._reporter.withdrawn(model, change)
                log.info("withdrawn", model=model, generation=change.generation, reason=change.reason)
            elif slot.is_lazy:
                self._announce(slot, change)
            elif not await self._promote(model, change, attempt):
                return
            self._scribe.note(model, change, is_loaded=not slot.is_lazy)

    def _announce(self, slot: Slot, promoted: ModelPromoted) -> None:
        slot.announce(promoted)
        self._reporter.known(slot.model, promoted)

    def _served_at_once(self, model: str, change: Change) -> bool:
        """Serve what is at hand in the call that brought the news: each task in between waits for busy requests."""
        if isinstance(change, ModelWithdrawn) or self._slots.of(model).is_lazy:
            return False
        verified = self._challengers.at_hand(model, change.bundle.digest)
        if verified is None:
            return False
        with about(model, change):
            self._serve(change, _champion(model, change, verified), prefetched=True)
            self._scribe.note(model, change, is_loaded=True)
        return True

    async def _promote(self, model: str, promoted: ModelPromoted, attempt: int) -> bool:
        """Serve a version, if it is not served yet; return False if it failed, or if a newer change came meanwhile."""
        prefetched = self._challengers.at_hand(model, promoted.bundle.digest) is not None
        try:
            verified = await self._got(model, promoted)
        except BundleError as error:
            self._reject(model, promoted, error, attempt)
            return False
        if verified is None or self._wanted[model] is not promoted:
            return False
        self._serve(promoted, _champion(model, promoted, verified), prefetched=prefetched)
        return True

    async def _got(self, model: str, promoted: ModelPromoted) -> VerifiedModel | None:
        """Return a bundle, verified; None as soon as a newer change comes, while the getting goes on by itself."""
        getting = self._getting[model] = asyncio.create_task(self._challengers.get(model, promoted.bundle))
        try:
            await asyncio.wait([getting])
        finally:
            del self._getting[model]
            getting.cancel()
        return None if getting.cancelled() else getting.result()

    def _serve(self, promoted: ModelPromoted, champion: Champion, *, prefetched: bool) -> None:
        slot = self._slots.of(champion.model)
        started = time.perf_counter()
        is_swap = slot.unloaded is None
        if slot.swap(champion):
            swap_ms = (time.perf_counter() - started) * 1e3 if is_swap else None
            self._reporter.serving(promoted, champion, prefetched=prefetched, swap_ms=swap_ms)

    def _reject(self, model: str, promoted: ModelPromoted, error: BundleError, attempt: int) -> None:
        if self._wanted[model] is not promoted:
            return
        self._slots.of(model).fail(promoted, error)
        self._reporter.rejected(promoted, model, error)
        if error.check == "download":
            self._begin_later(model, promoted, attempt)


def _champion(model: str, promoted: ModelPromoted, verified: VerifiedModel) -> Champion:
    return Champion(
        model=model,
        version=promoted.version,
        generation=promoted.generation,
        ledger=promoted.ledger,
        digest=promoted.bundle.digest,
        verified=verified,
        since=datetime.now(UTC),
        request_id=promoted.request_id,
    )
