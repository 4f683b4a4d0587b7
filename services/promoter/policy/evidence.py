"""What a policy judges by, and what it says: plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from services.promoter.policy.confidence import Confidence
from shared.events import RuleOutcome


@dataclass(frozen=True)
class Evidence:
    """Metrics of challenger and champion (None: there is none) on the same held-out rows, and what else counts.

    `changed_s_ago` is how long the champion has been champion, in seconds; `frozen` says by whom and why the model was
    frozen; `is_rejected` whether predictors rejected this version.
    """

    challenger: Mapping[str, float]
    champion: Mapping[str, float] | None
    holdout_rows: int = 0
    bundle_bytes: int = 0
    changed_s_ago: float | None = None
    confidence: Confidence | None = None
    frozen: str | None = None
    is_rejected: bool = False


@dataclass(frozen=True)
class Decision:
    """The verdict, its reason as one sentence, and what each rule said."""

    verdict: Literal["promoted", "refused", "awaiting", "done"]
    reason: str
    rules: list[RuleOutcome]
