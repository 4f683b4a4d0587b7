"""The promotion of a version: judge it, write the decision down, carry it out against the state it was judged on."""

import asyncio
import uuid
from dataclasses import dataclass
from typing import Literal

from services.promoter.ledger import Intent, Ledger, Standing
from services.promoter.policies import Policies
from services.promoter.policy import Decision, decide, refuse
from services.promoter.scoring import Scorer, Scores
from shared.bus import Bus
from shared.errors import BundleError, ComparisonError, PromotionConflictError, RegistryError
from shared.events import PromotionDecided, PromotionRequested, RuleOutcome, RunFinished
from shared.registry import Registry, Version
from shared.telemetry import logger

PROMOTER = "promoter"

log = logger(__name__)


@dataclass(frozen=True)
class Case:
    """One event that asks for a decision.

    `version` is a number, `auto` (the newest) or `previous`; `by` tells whether the policy decides or a hand did;
    `final` asks to decide even where a retry might still help.
    """

    source_event: str
    model: str
    version: str
    request_id: str
    by: Literal["policy", "hand"] = "policy"
    actor: str = PROMOTER
    reason: str = ""
    final: bool = False


@dataclass(frozen=True)
class Judgement:
    """A decision with what it was based on."""

    version: str
    decision: Decision
    scores: Scores | None = None


def case_of_run(source_event: str, model: str, event: RunFinished, *, final: bool) -> Case:
    """Ask whether a finished run's version is better than the champion."""
    return Case(source_event, model, event.version, event.request_id, final=final)


def case_of_request(source_event: str, model: str, event: PromotionRequested, *, final: bool) -> Case:
    """Ask for what a request names: a version, or the policy's verdict on the newest (`auto`)."""
    by: Literal["policy", "hand"] = "policy" if event.version == "auto" else "hand"
    return Case(source_event, model, event.version, source_event, by, event.actor, event.reason, final)


class Promoter:
    """Settles cases. Every step may be repeated: the decision on an event is made once, its intent is used once."""

    def __init__(self, bus: Bus, registry: Registry, ledger: Ledger, scorer: Scorer, policies: Policies) -> None:
        self._bus = bus
        self._registry = registry
        self._ledger = ledger
        self._scorer = scorer
        self._policies = policies

    async def settle(self, case: Case) -> PromotionDecided:
        """Decide a case, say so, and promote; judge anew if the champion changes between decision and promotion."""
        while True:
            decided = await self._decided(case)
            await self._bus.publish(decided, case.model, event_id=decided.decision)
            try:
                await self._carry_out(case.model, decided)
            except RegistryError as error:
                gone = await asyncio.to_thread(self._registry.version, case.model, decided.version) is None
                if not gone and not isinstance(error, PromotionConflictError):
                    raise
                log.warning("judging again", model=case.model, version=decided.version, conflict=str(error))
                await self._ledger.supersede(decided.decision)
                continue
            return decided

    async def _decided(self, case: Case) -> PromotionDecided:
        standing_decision = await self._ledger.decision_on(case.source_event)
        if standing_decision is not None:
            return standing_decision
        standing = await self._ledger.standing(case.model)
        judgement = await self._judge(case, standing)
        decided = _announcement(case, standing, judgement)
        promoted = decided.verdict == "promoted"
        intent = Intent(standing.generation, case.actor, case.reason or decided.reason) if promoted else None
        await self._ledger.record(case.source_event, case.model, decided, intent)
        log.info("decided", model=case.model, version=decided.version, verdict=decided.verdict, reason=decided.reason)
        # Another promoter may have been first: what stands in the ledger counts.
        return await self._ledger.decision_on(case.source_event) or decided

    async def _carry_out(self, model: str, decided: PromotionDecided) -> None:
        if await self._ledger.renew_intent(decided.decision):
            await asyncio.to_thread(self._registry.promote, model, decided.version)
            await self._ledger.close_intent(decided.decision)

    async def _judge(self, case: Case, standing: Standing) -> Judgement:
        found = await self._find(case)
        if found is None:
            return Judgement(
                case.version, _refused("version", f"{case.model} has no version {case.version} to promote")
            )
        if found.version == standing.champion:
            return Judgement(found.version, _refused("version", f"version {found.version} is champion already"))
        if case.by == "hand":
            return Judgement(found.version, _by_hand(case, found))
        return await self._by_policy(case, found, standing)

    async def _find(self, case: Case) -> Version | None:
        if case.version == "auto":
            return await asyncio.to_thread(self._registry.newest_version, case.model)
        version = await self._ledger.previous(case.model) if case.version == "previous" else case.version
        if version is None or not version.isdecimal():
            return None
        return await asyncio.to_thread(self._registry.version, case.model, version)

    async def _by_policy(self, case: Case, challenger: Version, standing: Standing) -> Judgement:
        try:
            champion = await self._champion(case.model, standing)
            scores = await self._scorer.score(challenger, champion)
        except (ComparisonError, BundleError, RegistryError) as error:
            passing = isinstance(error, RegistryError) or (isinstance(error, BundleError) and error.check == "download")
            if passing and not case.final:
                raise
            return Judgement(challenger.version, _refused("comparison", str(error)))
        policy = self._policies.of(case.model, scores.task)
        return Judgement(challenger.version, decide(policy, scores.challenger, scores.champion), scores)

    async def _champion(self, model: str, standing: Standing) -> Version | None:
        if standing.champion is None:
            return None
        champion = await asyncio.to_thread(self._registry.version, model, standing.champion)
        if champion is None:  # it was deleted a moment ago, and the ledger will hear of it
            raise RegistryError(f"MLflow does not know {model} version {standing.champion}, which is champion")
        return champion


def _by_hand(case: Case, version: Version) -> Decision:
    if version.bundle is None:
        return _refused("bundle", f"version {version.version} has no Baton bundle: no predictor could load it")
    message = f"asked for by {case.actor}" + (f": {case.reason}" if case.reason else "")
    return Decision("promoted", message, [RuleOutcome(rule="by hand", passed=True, message=message)])


def _refused(rule: str, message: str) -> Decision:
    return refuse(RuleOutcome(rule=rule, passed=False, message=message))


def _announcement(case: Case, standing: Standing, judgement: Judgement) -> PromotionDecided:
    scores = judgement.scores
    return PromotionDecided(
        decision=str(uuid.uuid4()),
        request_id=case.request_id,
        version=judgement.version,
        champion=standing.champion,
        verdict=judgement.decision.verdict,
        reason=judgement.decision.reason,
        rules=judgement.decision.rules,
        challenger_metrics=scores.challenger if scores else {},
        champion_metrics=scores.champion if scores else None,
    )
