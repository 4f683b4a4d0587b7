"""Comparing a challenger with the champion: gather the evidence, ask the policy."""

import asyncio
from dataclasses import dataclass, field

from services.promoter.cases import Case
from services.promoter.judging.scoring import Scorer, Scores
from services.promoter.ledger.ledger import Ledger, Standing
from services.promoter.policy.confidence import Confidence, confidence
from services.promoter.policy.evidence import Decision, Evidence
from services.promoter.policy.file import Policies
from services.promoter.policy.policy import Policy
from services.promoter.policy.rules import decide, refuse
from shared.errors import BundleError, ComparisonError, RegistryError
from shared.events import DeletedVersion, RuleOutcome
from shared.registry import Registry
from shared.versions import Version


@dataclass(frozen=True)
class Judgement:
    """A decision with what it was based on; `generation` is the one it holds for."""

    version: str
    decision: Decision
    generation: int
    scores: Scores | None = None
    deleted: list[DeletedVersion] = field(default_factory=list)


class Comparison:
    """Judges by the policy."""

    def __init__(self, registry: Registry, ledger: Ledger, scorer: Scorer, policies: Policies) -> None:
        self._registry = registry
        self._ledger = ledger
        self._scorer = scorer
        self._policies = policies

    async def judge(self, case: Case, challenger: Version, standing: Standing) -> Judgement:
        """Judge a challenger; raise `BatonError` where a retry may help, unless the case is to be decided anyway."""
        try:
            champion = await self._champion(case.model, standing)
            scores = await self._scorer.score(challenger, champion)
        except (ComparisonError, BundleError, RegistryError) as error:
            passing = isinstance(error, RegistryError) or (isinstance(error, BundleError) and error.check == "download")
            if passing and not case.final:
                raise
            refusal = refuse(RuleOutcome(rule="comparison", passed=False, message=str(error)))
            return Judgement(challenger.version, refusal, standing.generation)
        policy = self._policies.of(case.model, scores.task)
        evidence = await self._evidence(challenger, standing, scores, policy)
        return Judgement(challenger.version, decide(policy, evidence), standing.generation, scores)

    async def _champion(self, model: str, standing: Standing) -> Version | None:
        if standing.champion is None:
            return None
        champion = await asyncio.to_thread(self._registry.version, model, standing.champion)
        if champion is None:  # it was deleted a moment ago, and the ledger will hear of it
            raise RegistryError(f"MLflow does not know {model} version {standing.champion}, which is champion")
        return champion

    async def _evidence(self, challenger: Version, standing: Standing, scores: Scores, policy: Policy) -> Evidence:
        rejected = await self._ledger.rejected(challenger.model)
        return Evidence(
            challenger=scores.challenger,
            champion=scores.champion,
            holdout_rows=scores.rows,
            bundle_bytes=challenger.bundle.size if challenger.bundle else 0,
            changed_s_ago=standing.changed_s_ago,
            confidence=await asyncio.to_thread(_confidence, scores, policy),
            frozen=f"by {standing.frozen_by}: {standing.frozen_reason}" if standing.frozen else None,
            is_rejected=(challenger.version, challenger.run_id) in rejected,
        )


def _confidence(scores: Scores, policy: Policy) -> Confidence | None:
    if scores.pair is None or policy.metric is None:
        return None
    return confidence(scores.pair, policy.metric, higher_is_better=bool(policy.higher_is_better))
