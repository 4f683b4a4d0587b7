"""The relay: publishes every captured change of a champion, in order per model, exactly as it was committed."""

import asyncio
from functools import partial
from itertools import groupby

import psycopg2
from nats.errors import Error as NatsError
from pydantic import ValidationError

from services.promoter.listener import Listener, listening
from services.promoter.outbox import Change, Outbox
from shared.bus import Bus
from shared.errors import BatonError, PromotionConflictError
from shared.events import BundleRef, ChampionEvent, ModelPromoted, ModelRejected, ModelWithdrawn
from shared.telemetry import logger

POLL_S = 2.0  # how late a change is seen at most when a notification was lost
RETRY_S = 0.5
LONGEST_REST_S = 30.0

log = logger(__name__)


class Relay:
    """One works at a time; others stand by. Each model is drained by a task of its own, so none waits for another."""

    def __init__(self, database_url: str, outbox: Outbox, bus: Bus) -> None:
        self._database_url = database_url
        self._outbox = outbox
        self._bus = bus
        self._drains: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, int] = {}
        self._last: dict[tuple[type[ChampionEvent], str], int] = {}  # sequence of the last event on a subject

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

    async def _work(self, listener: Listener) -> None:
        self._last.clear()  # another relay may have published since
        upkeep = asyncio.create_task(self._keep_in_step(listener))
        try:
            while not upkeep.done():
                await self._start_drains(listener)
                await listener.wait(POLL_S)
            upkeep.result()
        finally:
            tasks = [upkeep, *self._drains.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._drains.clear()

    async def _keep_in_step(self, listener: Listener) -> None:
        """Repair what triggers missed and stages that differ, beside the path from commit to publish."""
        while True:
            for model in await self._outbox.reconcile():
                log.warning("champion was captured late: see baton.capture_errors", model=model)
                listener.wake()
            await self._outbox.mirror_stages()
            await asyncio.sleep(POLL_S)

    async def _start_drains(self, listener: Listener) -> None:
        pending = await self._outbox.pending(busy=self._drains)
        for model, changes in groupby(pending, key=lambda change: change.model):
            task = self._drains[model] = asyncio.create_task(self._drain(model, list(changes)))
            task.add_done_callback(partial(self._finished, model, listener))

    def _finished(self, model: str, listener: Listener, _: asyncio.Task[None]) -> None:
        self._drains.pop(model, None)
        listener.wake()  # more may have been committed meanwhile

    async def _drain(self, model: str, changes: list[Change]) -> None:
        try:
            for change in changes:
                await self._publish(change)
                await self._outbox.mark_published(model, change.generation)
            self._failures.pop(model, None)
            await self._outbox.mirror_stages()
        except (psycopg2.Error, BatonError, NatsError) as error:
            failures = self._failures[model] = self._failures.get(model, 0) + 1
            log.warning("a champion's change waits to be published", model=model, failures=failures, error=str(error))
            await asyncio.sleep(min(RETRY_S * 2**failures, LONGEST_REST_S))

    async def _publish(self, change: Change) -> None:
        event, identity = event_of(change), f"{change.ledger}:{change.model}:{change.generation}"
        if isinstance(event, ModelRejected):
            await self._bus.publish(event, change.model, event_id=identity)
            log.warning("champion has no bundle", model=change.model, version=change.version)
            return
        subject = (type(event), change.model)
        while not await self._is_published(event, change.model):
            try:
                receipt = await self._bus.publish(
                    event, change.model, event_id=identity, expected_last=self._last[subject]
                )
            except PromotionConflictError:  # the subject has moved on: look at it again
                del self._last[subject]
                continue
            self._last[subject] = receipt.sequence
            break
        log.info(event.type, model=change.model, version=change.version, generation=change.generation)

    async def _is_published(self, event: ChampionEvent, model: str) -> bool:
        """Look at the subject's last event where its sequence is not known; True if that is as new as this one.

        Message ids are remembered for minutes only; the sequence keeps a change from being published twice for ever.
        """
        subject = (type(event), model)
        if subject in self._last:
            return False
        found = await self._bus.last(type(event), model)
        self._last[subject], last = found or (0, None)
        if not isinstance(last, ChampionEvent):
            return False
        return last.ledger == event.ledger and last.generation >= event.generation


def event_of(change: Change) -> ModelPromoted | ModelWithdrawn | ModelRejected:
    """Turn a row of the outbox into its event; a version without a bundle is rejected, because nobody could load it."""
    common = {
        "generation": change.generation, "ledger": change.ledger, "actor": change.actor, "reason": change.reason,
        "committed_at": change.committed_at, "previous": change.previous,
    }  # fmt: skip
    if change.version is None:
        return ModelWithdrawn.model_validate(common)
    try:
        bundle = BundleRef.model_validate_json(change.bundle or "")
    except ValidationError:
        return ModelRejected(
            predictor="promoter",
            worker=0,
            version=change.version,
            generation=change.generation,
            ledger=change.ledger,
            check="download",
            message=f"version {change.version} has no Baton bundle: promote one that Baton trained",
        )
    own = {"version": change.version, "run_id": change.run_id, "bundle": bundle, "decision": change.decision}
    return ModelPromoted.model_validate(common | own)
