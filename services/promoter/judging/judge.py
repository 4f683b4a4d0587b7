"""Judging a case: which version it is about, and whether that becomes champion."""

import asyncio

from services.promoter.bundling.bundler import Bundler
from services.promoter.cases import AUTO, PREVIOUS, Case
from services.promoter.cleanup import Cleanup
from services.promoter.judging.candidates import best_version
from services.promoter.judging.comparison import Comparison, Judgement
from services.promoter.ledger.ledger import Ledger, Standing
from services.promoter.policy.evidence import Decision
from services.promoter.policy.file import Policies
from services.promoter.policy.rules import refuse
from shared.errors import BundleError, RegistryError
from shared.events import RuleOutcome
from shared.registry import Registry
from shared.versions import Version


class Judge:
    """Finds what a case names and judges it: by the policy, or by what a person asked for."""

    def __init__(
        self,
        registry: Registry,
        ledger: Ledger,
        comparison: Comparison,
        policies: Policies,
        *,
        bundler: Bundler,
        cleanup: Cleanup,
    ) -> None:
        self._registry = registry
        self._ledger = ledger
        self._comparison = comparison
        self._policies = policies
        self._bundler = bundler
        self._cleanup = cleanup

    async def judge(self, case: Case, standing: Standing) -> Judgement:
        """Judge a case against who is champion; raise `BatonError` where a retry may help."""
        try:
            return await self._by_action(case, standing)
        except RegistryError as error:
            if not case.final:
                raise
            return _judged(case.version, refuse(_rule("registry", str(error))), standing)

    async def _by_action(self, case: Case, standing: Standing) -> Judgement:
        if fault := case.fault or _unusable_name(case.model):
            return _judged(case.version, refuse(_rule("command", fault)), standing)
        if case.action == "unfreeze":
            return Judgement("", _done("freeze", f"the policy may promote versions of {case.model} again"), 0)
        if case.action == "cleanup":
            plan = await self._cleanup.plan(case.model, case.keep or 1)
            return Judgement("", _done("cleanup", plan.sentence), standing.generation, deleted=plan.deleted)
        if case.action == "approve":
            return await self._approval(case, standing)
        if case.by == "fleet":
            return await self._by_fleet(case, standing)
        return await self._named(case, standing)

    async def _named(self, case: Case, standing: Standing) -> Judgement:
        """Judge the version that a case names, or asks to find."""
        found = await self._find(case)
        if found is None:
            return _judged(case.version, refuse(_rule("version", _nothing_found(case))), standing)
        if found.version == standing.champion:
            return _judged(
                found.version, refuse(_rule("version", f"version {found.version} is champion already")), standing
            )
        if case.by == "policy":
            return await self._comparison.judge(case, found, standing)
        return _judged(found.version, await self._by_hand(case, found), standing)

    async def _find(self, case: Case) -> Version | None:
        if case.version == AUTO:
            return await self._best(case.model)
        if case.version in ("", PREVIOUS):
            return await self._predecessor(case.model)
        return await asyncio.to_thread(self._registry.version, case.model, case.version)

    async def _best(self, model: str) -> Version | None:
        rejected = await self._ledger.rejected(model)
        return await asyncio.to_thread(best_version, self._registry, self._policies, model, rejected)

    async def _predecessor(self, model: str, *, served: bool = False) -> Version | None:
        rejected = await self._ledger.rejected(model)
        for version in await self._ledger.predecessors(model, served=served):
            found = await asyncio.to_thread(self._registry.version, model, version)
            if found is not None and (found.version, found.run_id) not in rejected:
                return found
        return None

    async def _by_fleet(self, case: Case, standing: Standing) -> Judgement:
        """Take back what predictors rejected, once, unless the champion has changed meanwhile."""
        kept = None
        if case.generation != standing.generation:
            kept = "the champion has changed since"
        elif self._policies.merged(case.model).on_reject == "hold":
            kept = "the policy holds what predictors reject (`on_reject: hold`): roll back by hand"
        elif standing.taken_back:
            kept = "it took the place of another rejected version already: promote one by hand"
        found = None if kept else await self._predecessor(case.model, served=True)
        if found is None:
            message = f"{case.reason}; not rolled back: {kept or 'no earlier champion has served'}"
            return _judged("", refuse(_rule("rejection", message)), standing)
        message = f"{case.reason}; rolled back to version {found.version}"
        return _judged(
            found.version, Decision("promoted", message, [_rule("rejection", message, passed=True)]), standing
        )

    async def _approval(self, case: Case, standing: Standing) -> Judgement:
        awaiting = await self._ledger.awaiting(case.model, case.version)
        if awaiting is None:
            which = f"version {case.version}" if case.version else "no version"
            missing = (
                f"{which} of {case.model} awaits approval" if not case.version else f"{which} does not await approval"
            )
            return _judged(case.version, refuse(_rule("approval", missing)), standing)
        if awaiting.generation != standing.generation:
            message = (
                f"the champion has changed since version {awaiting.version} was judged against "
                f"{awaiting.champion or 'none'}: ask for `--auto`, or promote it by hand"
            )
            return _judged(awaiting.version, refuse(_rule("approval", message)), standing)
        by = f"approved by {case.actor}" + (f": {case.reason}" if case.reason else f": {awaiting.reason}")
        return _judged(
            awaiting.version, Decision("promoted", by, [*awaiting.rules, _rule("approval", by, passed=True)]), standing
        )

    async def _by_hand(self, case: Case, version: Version) -> Decision:
        """Do what a person asks for, unless no predictor could load the version."""
        try:
            await self._bundler.bundle(version.model, version.version)
        except BundleError as error:
            return refuse(_rule("bundle", str(error)))
        return _asked_for(case)


def _unusable_name(model: str) -> str:
    try:
        Registry.check_name(model)
    except RegistryError as error:
        return f"model: {error}"
    return ""


def _judged(version: str, decision: Decision, standing: Standing) -> Judgement:
    return Judgement(version, decision, standing.generation)


def _rule(rule: str, message: str, *, passed: bool = False) -> RuleOutcome:
    return RuleOutcome(rule=rule, passed=passed, message=message)


def _done(rule: str, message: str) -> Decision:
    return Decision("done", message, [_rule(rule, message, passed=True)])


def _nothing_found(case: Case) -> str:
    if case.action == "rollback" and case.version in ("", PREVIOUS):
        return f"{case.model} has no earlier champion to go back to"
    return (
        f"{case.model} has no version {case.version} to promote"
        if case.version != AUTO
        else f"{case.model} has no version"
    )


def _asked_for(case: Case) -> Decision:
    did = "rolled back" if case.action == "rollback" else "asked for"
    message = f"{did} by {case.actor}" + (f": {case.reason}" if case.reason else "")
    return Decision("promoted", message, [_rule("by hand", message, passed=True)])
