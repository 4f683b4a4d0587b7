"""The promotion of a version: judge it, write the decision down, carry it out against the state it was judged on."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.promoter.capture.capture import Capture
from services.promoter.cases import Case
from services.promoter.cleanup import Cleanup
from services.promoter.judging.comparison import Judgement
from services.promoter.judging.judge import Judge
from services.promoter.ledger.ledger import Intent, Ledger, Standing
from services.promoter.ledger.turns import Turns
from services.promoter.meters import Meters
from shared.bus import Bus
from shared.errors import PromotionConflictError, RegistryError
from shared.events import PromotionDecided
from shared.faults import point
from shared.registry import Registry
from shared.telemetry import about, logger
from shared.tracing import tracing

log = logger(__name__)


class Promoter:
    """Settles cases. Every step may be repeated: the decision on an event is made once, its intent is used once."""

    def __init__(
        self,
        bus: Bus,
        registry: Registry,
        ledger: Ledger,
        judge: Judge,
        turns: Turns,
        *,
        capture: Capture,
        cleanup: Cleanup,
        meters: Meters,
    ) -> None:
        self._bus = bus
        self._registry = registry
        self._ledger = ledger
        self._judge = judge
        self._turns = turns
        self._capture = capture
        self._cleanup = cleanup
        self._meters = meters

    async def settle(self, case: Case) -> PromotionDecided:
        """Decide a case, say so, and carry it out; judge anew if the champion changes in between."""
        with about(case.model, case):
            return await self._settled(case)

    async def _settled(self, case: Case) -> PromotionDecided:
        async with self._turn(case):
            while True:
                standing = await self._ledger.decision_on(case.source_event)
                decided = standing or await self._decided(case)
                point("promoter.recorded")
                await self._cleanup.carry_out(case.model, decided.deleted)  # first: who is told `done` finds it done
                point("promoter.cleaned")
                again = standing is not None  # announced before, perhaps, and perhaps long ago
                await self._bus.publish(decided, case.model, event_id=decided.decision, again=again)
                point("promoter.announced")
                if await self._carried_out(case.model, decided):
                    return decided

    @asynccontextmanager
    async def _turn(self, case: Case) -> AsyncIterator[None]:
        """Hold the model's turn while the policy judges; a person's command never waits for that."""
        if case.by != "policy":
            yield
            return
        async with self._turns.of(case.model):
            yield

    async def _decided(self, case: Case) -> PromotionDecided:
        """Judge a case and record the decision."""
        started = time.time()
        standing = await self._ledger.standing(case.model)
        judgement = await self._judge.judge(case, standing)
        decided = _announcement(case, standing, judgement)
        point("promoter.judged")
        await self._ledger.record(case, decided, _intent(case, decided))
        self._meters.decided(decided)
        facts = {"version": decided.version, "verdict": decided.verdict}
        tracing.record("decide", case.request_id, started, model=case.model, **facts)
        log.info("decided", model=case.model, generation=decided.generation, reason=decided.reason, **facts)
        # Another promoter may have been first: what stands in the ledger counts.
        return await self._ledger.decision_on(case.source_event) or decided

    async def _carried_out(self, model: str, decided: PromotionDecided) -> bool:
        """Make the version champion if that was decided and not done yet; False: it has to be judged anew."""
        if not await self._ledger.renew_intent(decided.decision):
            return True
        point("promoter.renewed")
        started = time.time()
        try:
            await self._capture.promote(model, decided.version, decided.generation)
            point("promoter.promoted")
            tracing.record("promote", decided.request_id, started, model=model, version=decided.version)
        except RegistryError as error:
            gone = await asyncio.to_thread(self._registry.version, model, decided.version) is None
            if not gone and not isinstance(error, PromotionConflictError):
                raise
            log.warning("judging again", model=model, version=decided.version, conflict=str(error))
            point("promoter.overtaken")
            await self._ledger.supersede(decided.decision)
            return False
        await self._ledger.close_intent(decided.decision)
        point("promoter.closed")
        return True


def _intent(case: Case, decided: PromotionDecided) -> Intent | None:
    if decided.verdict not in ("promoted", "awaiting"):
        return None
    reason = decided.reason if case.by == "fleet" else case.reason or decided.reason
    return Intent(decided.generation, case.actor, reason, "open" if decided.verdict == "promoted" else "awaiting")


def _announcement(case: Case, standing: Standing, judgement: Judgement) -> PromotionDecided:
    scores = judgement.scores
    return PromotionDecided(
        decision=str(uuid.uuid4()),
        request_id=case.request_id,
        action=case.action,
        actor=case.actor,
        version=judgement.version,
        champion=standing.champion,
        generation=standing.generation,
        verdict=judgement.decision.verdict,
        reason=judgement.decision.reason,
        rules=judgement.decision.rules,
        challenger_metrics=scores.challenger if scores else {},
        champion_metrics=scores.champion if scores else None,
        deleted=judgement.deleted,
    )
