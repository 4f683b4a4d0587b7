"""The rules of the policy, one function each: policy and evidence in, decision with reasons out."""

import math

from services.promoter.policy.evidence import Decision, Evidence
from services.promoter.policy.policy import Policy
from shared.events import RuleOutcome
from shared.metrics import LOWER_IS_BETTER

DIGITS = 9  # improvements are judged to this many decimals: less is the noise of floating point


def decide(policy: Policy, evidence: Evidence) -> Decision:
    """Judge a challenger. The policy must be complete (`Policy.for_task`)."""
    rules = [*_standing(policy, evidence), *_comparison(policy, evidence)]
    failed = [rule for rule in rules if not rule.passed]
    if failed:
        return Decision("refused", failed[0].message, rules)
    why = next(rule for rule in rules if rule.rule in ("improvement", "first")).message
    if policy.mode == "approve":
        waits = RuleOutcome(rule="mode", passed=True, message=f"{why}; a person has to approve it: `baton approve`")
        return Decision("awaiting", waits.message, [*rules, waits])
    return Decision("promoted", why, rules)


def refuse(rule: RuleOutcome) -> Decision:
    """Refuse because of one rule."""
    return Decision("refused", rule.message, [rule])


def _standing(policy: Policy, evidence: Evidence) -> list[RuleOutcome]:
    """Return what the rules say that look at the model and the version, not at metrics."""
    return _set(
        _freeze(evidence),
        _rejection(evidence),
        _cooldown(policy, evidence),
        _bundle_size(policy, evidence),
        _holdout_rows(policy, evidence),
    )


def _comparison(policy: Policy, evidence: Evidence) -> list[RuleOutcome]:
    """Return what the rules say that compare metrics; only that a metric is missing, where one is."""
    missing = [_missing(metric, evidence) for metric in (policy.metric or "", *policy.guards)]
    if any(missing):
        return _set(*missing)
    guards = (_guard(metric, drop, evidence) for metric, drop in sorted(policy.guards.items()))
    return _set(_floor(policy, evidence), _improvement(policy, evidence), *guards, _confidence(policy, evidence))


def _set(*outcomes: RuleOutcome | None) -> list[RuleOutcome]:
    return [outcome for outcome in outcomes if outcome is not None]


def _freeze(evidence: Evidence) -> RuleOutcome | None:
    if evidence.frozen is None:
        return None
    message = f"automatic promotion is frozen ({evidence.frozen}): `baton unfreeze` allows it again"
    return RuleOutcome(rule="freeze", passed=False, message=message)


def _rejection(evidence: Evidence) -> RuleOutcome | None:
    if not evidence.is_rejected:
        return None
    message = "predictors rejected this version before: only a person may promote it again"
    return RuleOutcome(rule="rejection", passed=False, message=message)


def _cooldown(policy: Policy, evidence: Evidence) -> RuleOutcome | None:
    if policy.cooldown_s is None or evidence.changed_s_ago is None:
        return None
    return RuleOutcome(
        rule="cooldown_s",
        passed=evidence.changed_s_ago >= policy.cooldown_s,
        value=evidence.changed_s_ago,
        threshold=policy.cooldown_s,
        message=f"the champion changed {evidence.changed_s_ago:.0f} s ago, and {policy.cooldown_s:.0f} s are asked for",
    )


def _bundle_size(policy: Policy, evidence: Evidence) -> RuleOutcome | None:
    if policy.max_bundle_bytes is None:
        return None
    return RuleOutcome(
        rule="max_bundle_bytes",
        passed=evidence.bundle_bytes <= policy.max_bundle_bytes,
        value=evidence.bundle_bytes,
        threshold=policy.max_bundle_bytes,
        message=f"the bundle has {evidence.bundle_bytes} bytes, and {policy.max_bundle_bytes} are allowed",
    )


def _holdout_rows(policy: Policy, evidence: Evidence) -> RuleOutcome | None:
    if policy.min_holdout_rows is None:
        return None
    return RuleOutcome(
        rule="min_holdout_rows",
        passed=evidence.holdout_rows >= policy.min_holdout_rows,
        value=evidence.holdout_rows,
        threshold=policy.min_holdout_rows,
        message=f"there are {evidence.holdout_rows} held-out rows, and {policy.min_holdout_rows} are asked for",
    )


def _missing(metric: str, evidence: Evidence) -> RuleOutcome | None:
    for whose, metrics in (("challenger", evidence.challenger), ("champion", evidence.champion)):
        if metrics is not None and not math.isfinite(metrics.get(metric, math.nan)):
            known = ", ".join(sorted(name for name, value in metrics.items() if math.isfinite(value))) or "nothing"
            message = f"the {whose} has no {metric} on the held-out rows (it has {known})"
            return RuleOutcome(rule="metric", passed=False, message=message)
    return None


def _floor(policy: Policy, evidence: Evidence) -> RuleOutcome | None:
    if policy.floor is None:
        return None
    value, floor = evidence.challenger[policy.metric or ""], policy.floor
    passed = value >= floor if policy.higher_is_better else value <= floor
    relation = ("above" if value >= floor else "below") if policy.higher_is_better else _side(value - floor)
    message = f"{policy.metric} {value:.3f} is {relation} the floor {floor:.3f}"
    return RuleOutcome(rule="floor", passed=passed, value=value, threshold=floor, message=message)


def _improvement(policy: Policy, evidence: Evidence) -> RuleOutcome:
    metric = policy.metric or ""
    value = evidence.challenger[metric]
    if evidence.champion is None:
        message = f"{metric} {value:.3f} has no champion to beat yet"
        return RuleOutcome(rule="first", passed=True, value=value, message=message)
    champion = evidence.champion[metric]
    difference = round(value - champion, DIGITS)
    gain = difference if policy.higher_is_better else -difference
    passed = gain > 0 and gain >= policy.min_improvement
    message = f"{metric} {value:.3f} " + (
        f"is {abs(difference):.3f} {_side(difference)} the champion's {champion:.3f}"
        if difference
        else f"equals the champion's {champion:.3f}"
    )
    if gain > 0 and not passed:
        message += f", and an improvement of {policy.min_improvement:.3f} is asked for"
    threshold = policy.min_improvement
    return RuleOutcome(rule="improvement", passed=passed, value=gain, threshold=threshold, message=message)


def _guard(metric: str, drop: float, evidence: Evidence) -> RuleOutcome | None:
    if evidence.champion is None:
        return None
    difference = round(evidence.challenger[metric] - evidence.champion[metric], DIGITS)
    loss = difference if metric in LOWER_IS_BETTER else -difference
    message = (
        f"{metric} {evidence.challenger[metric]:.3f} is {abs(difference):.3f} {_side(difference)} the champion's "
        f"{evidence.champion[metric]:.3f}, and may be worse by {drop:.3f}"
    )
    return RuleOutcome(
        rule=f"guard {metric}", passed=loss <= drop, value=max(loss, 0.0), threshold=drop, message=message
    )


def _confidence(policy: Policy, evidence: Evidence) -> RuleOutcome | None:
    found, asked = evidence.confidence, policy.min_confidence
    if evidence.champion is None or (found is None and asked is None):
        return None
    if found is None:
        message = f"{policy.metric} of these held-out rows gives no confidence, and {asked:.3f} is asked for"
        return RuleOutcome(rule="confidence", passed=False, threshold=asked, message=message)
    message = (
        f"better with probability {found.probability:.3f}, improvement {found.low:+.3f} to {found.high:+.3f} "
        f"(95 % of {found.resamples} resamples)"
    ) + (f", and {asked:.3f} is asked for" if asked is not None else "")
    passed = asked is None or found.probability >= asked
    return RuleOutcome(rule="confidence", passed=passed, value=found.probability, threshold=asked, message=message)


def _side(difference: float) -> str:
    return "above" if difference > 0 else "below"
