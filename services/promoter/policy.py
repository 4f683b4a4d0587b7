"""The promotion policy: which challenger becomes champion. Values in, decision with reasons out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.events import RuleOutcome
from shared.metrics import LOWER_IS_BETTER

Task = Literal["classification", "regression"]
DIGITS = 9  # improvements are judged to this many decimals: less is the noise of floating point


class Policy(BaseModel):
    """When a challenger is promoted: it reaches the floor, and beats the champion by at least `min_improvement`.

    `metric` is the task's own when not given. Equal is not better: an improvement of 0 never promotes. Where lower is
    better (`log_loss`, `brier`, `mae`, `rmse`, or as told), the floor is the highest value allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str | None = None
    higher_is_better: bool | None = None
    floor: float | None = Field(default=None, allow_inf_nan=False)
    min_improvement: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    on_reject: Literal["rollback", "hold", "ignore"] = "rollback"
    reject_quorum: int = Field(default=1, ge=1)

    def for_task(self, task: Task) -> "Policy":
        """Fill in what was not given: the task's metric, its floor, the metric's direction."""
        standard = STANDARD[task]
        metric = self.metric or standard.metric
        floor = standard.floor if self.floor is None and metric == standard.metric else self.floor
        higher = metric not in LOWER_IS_BETTER if self.higher_is_better is None else self.higher_is_better
        return self.model_copy(update={"metric": metric, "floor": floor, "higher_is_better": higher})


STANDARD: dict[Task, Policy] = {
    "classification": Policy(metric="roc_auc", floor=0.5),
    "regression": Policy(metric="r2", floor=0.0),
}


@dataclass(frozen=True)
class Decision:
    """The verdict, its reason as one sentence, and what each rule said."""

    verdict: Literal["promoted", "refused", "awaiting", "done"]
    reason: str
    rules: list[RuleOutcome]


def decide(policy: Policy, challenger: Mapping[str, float], champion: Mapping[str, float] | None) -> Decision:
    """Judge a challenger's metrics against the champion's (None: there is no champion), both on the same rows.

    The policy must be complete (`Policy.for_task`).
    """
    metric = policy.metric or ""
    missing = _missing(metric, challenger, champion)
    if missing:
        return refuse(RuleOutcome(rule="metric", passed=False, message=missing))
    value = challenger[metric]
    rules = [_floor(policy, value)] if policy.floor is not None else []
    rules.append(_improvement(policy, value, champion[metric]) if champion is not None else _first(metric, value))
    failed = [rule for rule in rules if not rule.passed]
    if failed:
        return Decision("refused", failed[0].message, rules)
    return Decision("promoted", rules[-1].message, rules)


def refuse(rule: RuleOutcome) -> Decision:
    """Refuse because of one rule."""
    return Decision("refused", rule.message, [rule])


def _missing(metric: str, challenger: Mapping[str, float], champion: Mapping[str, float] | None) -> str | None:
    for whose, metrics in (("challenger", challenger), ("champion", champion)):
        if metrics is not None and not math.isfinite(metrics.get(metric, math.nan)):
            known = ", ".join(sorted(name for name, value in metrics.items() if math.isfinite(value))) or "nothing"
            return f"the {whose} has no {metric} on the held-out rows (it has {known})"
    return None


def _floor(policy: Policy, value: float) -> RuleOutcome:
    floor = policy.floor or 0.0
    passed = value >= floor if policy.higher_is_better else value <= floor
    relation = ("above" if value >= floor else "below") if policy.higher_is_better else _side(value - floor)
    message = f"{policy.metric} {value:.3f} is {relation} the floor {floor:.3f}"
    return RuleOutcome(rule="floor", passed=passed, value=value, threshold=floor, message=message)


def _improvement(policy: Policy, value: float, champion: float) -> RuleOutcome:
    difference = round(value - champion, DIGITS)
    gain = difference if policy.higher_is_better else -difference
    passed = gain > 0 and gain >= policy.min_improvement
    message = f"{policy.metric} {value:.3f} " + (
        f"is {abs(difference):.3f} {_side(difference)} the champion's {champion:.3f}"
        if difference
        else f"equals the champion's {champion:.3f}"
    )
    if gain > 0 and not passed:
        message += f", and an improvement of {policy.min_improvement:.3f} is asked for"
    threshold = policy.min_improvement
    return RuleOutcome(rule="improvement", passed=passed, value=gain, threshold=threshold, message=message)


def _first(metric: str, value: float) -> RuleOutcome:
    message = f"{metric} {value:.3f} has no champion to beat yet"
    return RuleOutcome(rule="first", passed=True, value=value, message=message)


def _side(difference: float) -> str:
    return "above" if difference > 0 else "below"
