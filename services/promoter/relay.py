"""The relay: publishes every captured change of a champion, in order per model, exactly as it was committed."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import psycopg2
from pydantic import ValidationError

from services.promoter.bundling.bundler import Bundler
from services.promoter.capture.capture import Capture
from services.promoter.cases import PROMOTER
from services.promoter.ledger.outbox import Change, Outbox
from services.promoter.listener import Listener, listening
from services.promoter.meters import Meters
from shared.bus import Bus
from shared.errors import BatonError, BundleError, PromotionConflictError
from shared.event import Event
from shared.events import BundleRef, ChampionEvent, ModelPromoted, ModelRejected, ModelWithdrawn
from shared.faults import point
from shared.tasks import end
from shared.telemetry import about, logger
from shared.tracing import tracing

POLL_S = 2.0  # how late a change is seen at most when a notification was lost
RETRY_S = 0.5
LONGEST_REST_S = 30.0
MOST_DOUBLINGS = 10

Upkeep = Callable[[], Coroutine[Any, Any, None]]  # what only the one that relays does beside, for ever

log = logger(__name__)


@dataclass(frozen=True)
class Last:
    """The last event on a subject, None if there is none, and its sequence in the stream."""

    sequence: int
    event: Event | None

    def is_as_new_as(self, event: ChampionEvent) -> bool:
        """Return whether this is the event, or one that came after it."""
        last = self.event
        if not isinstance(last, ChampionEvent):
            return False
        return last.ledger == event.ledger and last.generation >= event.generation


class Relay:
    """One works at a time; others stand by. Each model is drained by a task of its own, so none waits for another."""

    def __init__(
        self,
        database_url: str,
        outbox: Outbox,
        bus: Bus,
        bundler: Bundler,
        *,
        capture: Capture,
        meters: Meters,
        upkeep: Sequence[Upkeep] = (),
    ) -> None:
        self._database_url = database_url
        self._outbox = outbox
        self._bus = bus
        self._bundler = bundler
        self._capture = capture
        self._meters = meters
        self._upkeep = upkeep
        self._waiting: dict[str, str] = {}  # why a model's changes are not on the bus yet
        self._drains: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, int] = {}
        self._last: dict[tuple[type[ChampionEvent], str], Last] = {}

    async def run(self) -> None:
        """Relay until cancelled, across restarts of PostgreSQL and NATS."""
        while True:
            try:
                async with listening(self._database_url) as listener:
                    log.info("relay started")
                    await self._work(listener)
            except (psycopg2.Error, BatonError) as error:
                log.warning("relay lost its database", error=str(error).strip())
                await asyncio.sleep(RETRY_S)

    async def backlog(self) -> list[dict[str, Any]]:
        """Return the models whose changes wait to be published: `changes`, `since` when, and `waiting` for what."""
        return [row | {"waiting": self._waiting.get(row["model"])} for row in await self._outbox.backlog()]

    async def _work(self, listener: Listener) -> None:
        self._last.clear()  # another relay may have published since
        upkeep = [asyncio.create_task(work()) for work in self._upkeep]
        try:
            while not any(task.done() for task in upkeep):
                await self._start_drains(listener)
                await listener.wait(POLL_S)
            await asyncio.gather(*upkeep)
        finally:
            await end([*upkeep, *self._drains.values()])
            self._drains.clear()

    async def _start_drains(self, listener: Listener) -> None:
        pending = await self._outbox.pending(busy=self._drains)
        for model, changes in groupby(pending, key=lambda change: change.model):
            task = self._drains[model] = asyncio.create_task(self._drain(model, list(changes)))
            task.add_done_callback(partial(self._finished, model, listener))

    def _finished(self, model: str, listener: Listener, _: asyncio.Task[None]) -> None:
        self._drains.pop(model, None)
        listener.wake()  # more may have been committed meanwhile

    async def _drain(self, model: str, changes: list[Change]) -> None:
        change = changes[0]
        try:
            for change in changes:
                with _lines_about(change):
                    await self._relay(change)
            self._failures.pop(model, None)
            await self._capture.mirror(model)
        except Exception as error:  # whatever it is, it must not end this model's relay
            self._waiting[model] = str(error)
            self._meters.failed()
            failures = self._failures[model] = self._failures.get(model, 0) + 1
            with _lines_about(change):
                log.warning("a champion's change waits to be published", failures=failures, error=repr(error))
            await asyncio.sleep(min(RETRY_S * 2 ** min(failures, MOST_DOUBLINGS), LONGEST_REST_S))

    async def _relay(self, change: Change) -> None:
        point("relay.read")
        await self._publish(change)
        point("relay.published")
        self._meters.published(change)
        tracing.record("publish", change.request_id or change.id, change.committed_at, model=change.model)
        await self._outbox.mark_published(change.model, change.generation)
        point("relay.marked")
        self._waiting.pop(change.model, None)

    async def _publish(self, change: Change) -> None:
        try:
            event = event_of(change, await self._bundle(change))
        except BundleError as error:
            await self._bus.publish(rejection_of(change, error), change.model, event_id=change.id, again=True)
            log.warning("champion has no bundle", model=change.model, version=change.version, error=str(error))
            return
        point("relay.bundled")
        subject = (type(event), change.model)
        while not await self._is_published(event, change.model):
            try:
                receipt = await self._bus.publish(
                    event, change.model, event_id=change.id, expected_last=self._last[subject].sequence
                )
            except PromotionConflictError:  # the subject has moved on: look at it again
                del self._last[subject]
                continue
            self._last[subject] = Last(receipt.sequence, event)
            break
        log.info(event.type, model=change.model, version=change.version, generation=change.generation)

    async def _bundle(self, change: Change) -> BundleRef | None:
        """Return the bundle of a change's version, made now if it has none."""
        if change.version is None:
            return None
        with suppress(ValidationError):
            return BundleRef.model_validate_json(change.bundle or "")
        self._waiting[change.model] = f"version {change.version} is being bundled"
        bundle = await self._bundler.bundle(change.model, change.version)
        await self._outbox.fill_bundle(change.model, change.generation, bundle.model_dump_json())
        return bundle

    async def _is_published(self, event: ChampionEvent, model: str) -> bool:
        """Return whether the subject's last event is as new as this one.

        It is looked at where it is not known, and where it is known to be as new: who restored the bus may have lost
        it. Message ids are remembered for minutes only; the sequence keeps a change from being published twice for
        ever.
        """
        subject = (type(event), model)
        if subject not in self._last or self._last[subject].is_as_new_as(event):
            self._last[subject] = Last(*(await self._bus.last(type(event), model) or (0, None)))
        return self._last[subject].is_as_new_as(event)


def _lines_about(change: Change) -> AbstractContextManager[Any]:
    return about(change.model, change, request_id=change.request_id or change.id)


def event_of(change: Change, bundle: BundleRef | None) -> ModelPromoted | ModelWithdrawn:
    """Turn a row of the outbox into its event."""
    common = {
        "generation": change.generation, "ledger": change.ledger, "actor": change.actor, "reason": change.reason,
        "committed_at": change.committed_at, "previous": change.previous,
    }  # fmt: skip
    if change.version is None:
        return ModelWithdrawn.model_validate(common)
    own = {
        "version": change.version, "run_id": change.run_id, "bundle": bundle, "decision": change.decision,
        "request_id": change.request_id or change.id,
    }  # fmt: skip
    return ModelPromoted.model_validate(common | own)


def rejection_of(change: Change, error: BundleError) -> ModelRejected:
    """Say of a version that could not be bundled that nobody will serve it, and why."""
    return ModelRejected(
        predictor=PROMOTER,
        worker=0,
        version=change.version or "",
        generation=change.generation,
        ledger=change.ledger,
        check=error.check,
        message=str(error),
    )
