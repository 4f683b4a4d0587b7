"""The promotion policy: what a challenger has to fulfil to become champion. `rules.py` judges by it."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.metrics import LOWER_IS_BETTER

Task = Literal["classification", "regression"]
Drop = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Policy(BaseModel):
    """When a challenger is promoted: every rule that is set passes. docs/policy.md describes each.

    `metric` is the task's own when not given. Equal is not better: an improvement of 0 never promotes. Where lower is
    better (`log_loss`, `brier`, `mae`, `rmse`, or as told), the floor is the highest value allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str | None = Field(default=None, min_length=1)
    higher_is_better: bool | None = None
    floor: float | None = Field(default=None, allow_inf_nan=False)
    min_improvement: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    min_confidence: float | None = Field(default=None, gt=0.0, lt=1.0)
    guards: dict[str, Drop] = Field(default_factory=dict)
    min_holdout_rows: int | None = Field(default=None, ge=1)
    max_bundle_bytes: int | None = Field(default=None, ge=1)
    cooldown_s: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    mode: Literal["auto", "approve"] = "auto"
    on_reject: Literal["rollback", "hold", "ignore"] = "rollback"
    reject_quorum: int = Field(default=1, ge=1)

    def for_task(self, task: Task) -> "Policy":
        """Fill in what was not given: the task's metric, its floor, the metric's direction."""
        standard = STANDARD[task]
        metric = self.metric or standard.metric
        floor = standard.floor if self.floor is None and metric == standard.metric else self.floor
        higher = is_higher_better(metric or "") if self.higher_is_better is None else self.higher_is_better
        return self.model_copy(update={"metric": metric, "floor": floor, "higher_is_better": higher})


STANDARD: dict[Task, Policy] = {
    "classification": Policy(metric="roc_auc", floor=0.5),
    "regression": Policy(metric="r2", floor=0.0),
}


def is_higher_better(metric: str) -> bool:
    """Return a metric's direction, where nobody says otherwise."""
    return metric not in LOWER_IS_BETTER
