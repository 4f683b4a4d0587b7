"""The reconciler: compares registry, ledger, bus and fleet, slowly and for ever, and repairs what differs, saying so.

Nothing here is on the path from a commit to a predictor. It runs where the relay runs: in one promoter at a time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from nats.errors import Error as NatsError
from pydantic import ValidationError

from services.promoter.capture.capture import Capture
from services.promoter.fleet import Fleet, takes
from services.promoter.ledger.outbox import Outbox, Published
from services.promoter.ledger.records import Records
from shared.bus import NatsBus
from shared.errors import BatonError, EventError
from shared.event import Stream
from shared.events import BundleRef, ChampionEvent, ChampionWanted, ModelPromoted, ModelWithdrawn
from shared.streams import missing, prepare
from shared.telemetry import logger

PATIENCE_S = 30.0  # how long a worker may take to bring a published change into service

log = logger(__name__)


@dataclass(frozen=True)
class Laggard:
    """A worker that says it serves an older generation of a model than was published (0: it serves none)."""

    predictor: str
    worker: int
    model: str
    generation: int
    published: int


class Reconciler:
    """One pass makes every comparison; one that fails says so and leaves the others alone."""

    def __init__(
        self,
        capture: Capture,
        outbox: Outbox,
        records: Records,
        bus: NatsBus,
        fleet: Fleet,
        *,
        interval_s: float = 30.0,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._capture = capture
        self._outbox = outbox
        self._records = records
        self._bus = bus
        self._fleet = fleet
        self._interval_s = interval_s
        self._patience_s = patience_s
        self._last_error: int | None = None
        self._seen: dict[str, tuple[str, int]] = {}  # each model's last change that was seen on the bus
        self._stream = ("", 0, 0)  # the stream as it was then: when it was made, its last sequence, how many it holds

    async def run(self) -> None:
        """Reconcile every `interval_s` seconds, for ever."""
        await _for_ever(self._interval_s, self.reconcile)

    async def look(self) -> None:
        """Look in between, as often as the capture wants to, for ever."""
        await _for_ever(self._capture.interval_s, self._capture.look)

    async def reconcile(self) -> None:
        """Make every comparison once."""
        for compare in (self._registry, self._capture_errors, self._streams, self._champions, self._workers):
            await _undisturbed(compare)

    async def _registry(self) -> None:
        for model in await self._capture.catch_up():
            log.warning("repaired: a champion had changed and was not captured", model=model)

    async def _capture_errors(self) -> None:
        errors = await self._records.capture_errors(after=self._last_error or 0)
        if self._last_error is None and errors:
            log.warning("the capture failed before this promoter started: see GET /capture", errors=len(errors))
        elif self._last_error is not None:
            for error in errors:
                log.warning("the capture failed", **{key: error[key] for key in ("trigger", "model", "message")})
        self._last_error = max([self._last_error or 0, *(error["id"] for error in errors)])

    async def _streams(self) -> None:
        if lost := await missing(self._bus.js):
            await prepare(self._bus.js, self._bus.settings)
            log.warning("repaired: streams were gone and are made again", streams=lost)

    async def _champions(self) -> None:
        """Have published again what the bus has lost: the last change of each model."""
        await self._recall_unless_intact()
        for change in await self._outbox.last_published():
            place = (change.ledger, change.generation)
            if self._seen.get(change.model) == place or not is_an_event(change):
                continue
            if await self._is_on_the_bus(change):
                self._seen[change.model] = place
            else:
                await self._outbox.publish_again(change.model, change.generation)
                log.warning("repaired: the bus had lost a champion", model=change.model, generation=change.generation)

    async def _recall_unless_intact(self) -> None:
        """Forget which changes were seen on the bus if the stream was made anew or holds less than it did."""
        info = await self._bus.js.stream_info(Stream.CHAMPIONS)
        stream = (str(info.created), info.state.last_seq, info.state.messages)
        is_intact = stream[0] == self._stream[0] and stream[1] >= self._stream[1] and stream[2] >= self._stream[2]
        if not is_intact:
            self._seen.clear()
        self._stream = stream

    async def _is_on_the_bus(self, change: Published) -> bool:
        kind: type[ChampionEvent] = ModelPromoted if change.kind == "promoted" else ModelWithdrawn
        try:
            found = await self._bus.last(kind, change.model)
        except EventError:  # somebody wrote there what is no event: it will be followed by one
            return False
        if found is None or not isinstance(found[1], ChampionEvent):
            return False
        return found[1].ledger == change.ledger and found[1].generation >= change.generation

    async def _workers(self) -> None:
        published = await self._outbox.last_published()
        behind = laggards(self._fleet.workers(), published, self._patience_s)
        for one in behind:
            log.warning("a worker serves an older champion and is asked to read again", **vars(one))
        for change in published:
            if change.model in {one.model for one in behind}:
                wanted = ChampionWanted(generation=change.generation, ledger=change.ledger)
                await self._bus.publish(wanted, change.model)


def is_an_event(change: Published) -> bool:
    """Tell whether a change was published as such; a version that could not be bundled was rejected instead."""
    if change.kind == "withdrawn":
        return True
    try:
        BundleRef.model_validate_json(change.bundle or "")
    except ValidationError:
        return False
    return True


def laggards(workers: Iterable[dict[str, Any]], published: Iterable[Published], patience_s: float) -> list[Laggard]:
    """Return the workers that are heard of and behind what was published more than `patience_s` seconds ago.

    One that rejected the change has read it. One that serves nothing of a withdrawn model is right, and
    so is one that does not serve the model at all.
    """
    late = [change for change in published if change.published_s_ago > patience_s and is_an_event(change)]
    return [
        Laggard(worker["predictor"], worker["worker"], change.model, generation, change.generation)
        for worker in workers
        if worker["state"] == "serving"
        for change in late
        if takes(worker, change.model) and (generation := _generation(worker, change)) < change.generation
    ]


def _generation(worker: dict[str, Any], change: Published) -> int:
    """Return the generation up to which a worker has read a model's changes, as far as it said."""
    nothing = change.generation if change.kind == "withdrawn" else 0
    serves = worker["models"].get(change.model, {"generation": nothing})["generation"]
    rejected = worker["rejected"].get(change.model, {"generation": 0})["generation"]
    return int(max(serves, rejected))


async def _for_ever(interval_s: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        await _undisturbed(work)
        await asyncio.sleep(interval_s)


async def _undisturbed(work: Callable[[], Awaitable[None]]) -> None:
    """Do some work; a part that is away is found again next time."""
    try:
        await work()
    except (BatonError, NatsError, OSError) as error:
        log.warning("not reconciled: tried again later", error=str(error) or repr(error))
