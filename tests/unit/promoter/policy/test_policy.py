"""The policy: which challenger becomes champion, and what people are told."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.promoter.policy.confidence import Confidence
from services.promoter.policy.evidence import Decision, Evidence
from services.promoter.policy.policy import Policy
from services.promoter.policy.rules import decide as judge


def decide(policy: Policy, challenger: dict[str, float], champion: dict[str, float] | None, **more: Any) -> Decision:
    return judge(policy, Evidence(challenger, champion, **more))


CLASSIFIER = Policy().for_task("classification")
REGRESSION = Policy(metric="rmse", floor=2.0).for_task("regression")
CAREFUL = Policy(floor=0.6, min_improvement=0.01).for_task("classification")


@pytest.mark.parametrize(
    ("policy", "challenger", "champion", "verdict", "reason"),
    [
        (CLASSIFIER, 0.871, None, "promoted", "roc_auc 0.871 has no champion to beat yet"),
        (CLASSIFIER, 0.450, None, "refused", "roc_auc 0.450 is below the floor 0.500"),
        (CLASSIFIER, 0.500, None, "promoted", "roc_auc 0.500 has no champion to beat yet"),
        (CLASSIFIER, 0.894, 0.871, "promoted", "roc_auc 0.894 is 0.023 above the champion's 0.871"),
        (CLASSIFIER, 0.871, 0.894, "refused", "roc_auc 0.871 is 0.023 below the champion's 0.894"),
        (CLASSIFIER, 0.894, 0.894, "refused", "roc_auc 0.894 equals the champion's 0.894"),
        (CLASSIFIER, 0.480, 0.450, "refused", "roc_auc 0.480 is below the floor 0.500"),
        (CAREFUL, 0.880, 0.870, "promoted", "roc_auc 0.880 is 0.010 above the champion's 0.870"),
        (
            CAREFUL, 0.875, 0.870, "refused",
            "roc_auc 0.875 is 0.005 above the champion's 0.870, and an improvement of 0.010 is asked for",
        ),
        (REGRESSION, 1.5, 1.8, "promoted", "rmse 1.500 is 0.300 below the champion's 1.800"),
        (REGRESSION, 1.8, 1.5, "refused", "rmse 1.800 is 0.300 above the champion's 1.500"),
        (REGRESSION, 2.5, None, "refused", "rmse 2.500 is above the floor 2.000"),
        (
            CLASSIFIER, math.nan, 0.9, "refused",
            "the challenger has no roc_auc on the held-out rows (it has accuracy)",
        ),
        (CLASSIFIER, 0.9, math.inf, "refused", "the champion has no roc_auc on the held-out rows (it has accuracy)"),
    ],
)  # fmt: skip
def test_verdict_and_reason(
    policy: Policy, challenger: float, champion: float | None, verdict: str, reason: str
) -> None:
    def metrics(value: float) -> dict[str, float]:
        return {str(policy.metric): value, "accuracy": 0.5}

    decision = decide(policy, metrics(challenger), None if champion is None else metrics(champion))
    assert (decision.verdict, decision.reason) == (verdict, reason)


def test_every_rule_says_what_it_saw() -> None:
    decision = decide(CAREFUL, {"roc_auc": 0.5}, {"roc_auc": 0.9})
    assert [(rule.rule, rule.passed, rule.value, rule.threshold) for rule in decision.rules] == [
        ("floor", False, 0.5, 0.6),
        ("improvement", False, -0.4, 0.01),
    ]


def test_a_missing_metric_is_named() -> None:
    decision = decide(CLASSIFIER, {}, None)
    assert decision.reason == "the challenger has no roc_auc on the held-out rows (it has nothing)"


def test_another_metric_has_no_standard_floor() -> None:
    assert Policy(metric="f1").for_task("classification").floor is None
    assert Policy(metric="log_loss").for_task("classification").higher_is_better is False
    assert Policy(metric="gain").for_task("regression").higher_is_better is True


SURE = Confidence(0.97, 0.001, 0.04, 4000)
STRICT = Policy(
    floor=0.6,
    guards={"log_loss": 0.02},
    min_confidence=0.9,
    min_holdout_rows=50,
    max_bundle_bytes=1000,
    cooldown_s=60,
).for_task("classification")
BETTER: dict[str, Any] = {
    "challenger": {"roc_auc": 0.9, "log_loss": 0.31},
    "champion": {"roc_auc": 0.8, "log_loss": 0.30},
    "holdout_rows": 56,
    "bundle_bytes": 900,
    "changed_s_ago": 61.0,
    "confidence": SURE,
}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, "roc_auc 0.900 is 0.100 above the champion's 0.800"),
        (
            {"challenger": {"roc_auc": 0.9, "log_loss": 0.33}},
            "log_loss 0.330 is 0.030 above the champion's 0.300, and may be worse by 0.020",
        ),
        ({"challenger": {"roc_auc": 0.9}}, "the challenger has no log_loss on the held-out rows (it has roc_auc)"),
        (
            {"confidence": Confidence(0.81, -0.02, 0.04, 4000)},
            (
                "better with probability 0.810, improvement -0.020 to +0.040 (95 % of 4000 resamples), "
                "and 0.900 is asked for"
            ),
        ),
        ({"confidence": None}, "roc_auc of these held-out rows gives no confidence, and 0.900 is asked for"),
        ({"holdout_rows": 49}, "there are 49 held-out rows, and 50 are asked for"),
        ({"bundle_bytes": 1001}, "the bundle has 1001 bytes, and 1000 are allowed"),
        ({"changed_s_ago": 12.0}, "the champion changed 12 s ago, and 60 s are asked for"),
        (
            {"frozen": "by ann: too many false alarms"},
            "automatic promotion is frozen (by ann: too many false alarms): `baton unfreeze` allows it again",
        ),
        ({"is_rejected": True}, "predictors rejected this version before: only a person may promote it again"),
    ],
)
def test_each_rule_refuses_with_its_reason(changed: dict[str, Any], reason: str) -> None:
    decision = judge(STRICT, Evidence(**BETTER | changed))
    assert decision.reason == reason
    assert decision.verdict == ("refused" if changed else "promoted")
    assert [rule.message for rule in decision.rules if not rule.passed] == ([reason] if changed else [])


def test_confidence_is_told_also_where_nobody_asks_for_it() -> None:
    decision = decide(CLASSIFIER, {"roc_auc": 0.9}, {"roc_auc": 0.8}, confidence=SURE)
    (told,) = [rule for rule in decision.rules if rule.rule == "confidence"]
    assert (told.passed, told.value, told.threshold) == (True, 0.97, None)


def test_a_first_champion_needs_no_comparison() -> None:
    first = Evidence(**BETTER | {"champion": None, "confidence": None, "changed_s_ago": None})
    assert judge(STRICT, first).verdict == "promoted"


def test_what_a_person_has_to_approve_waits_only_if_it_passed() -> None:
    asking = STRICT.model_copy(update={"mode": "approve"})
    decision = judge(asking, Evidence(**BETTER))
    assert decision.verdict == "awaiting"
    assert decision.reason.endswith("a person has to approve it: `baton approve`")
    assert judge(asking, Evidence(**BETTER | {"holdout_rows": 1})).verdict == "refused"


values = st.floats(allow_nan=True, allow_infinity=True, width=64) | st.floats(-1, 1)
policies = st.builds(
    Policy,
    metric=st.just("m"),
    higher_is_better=st.booleans(),
    floor=st.none() | st.floats(-1, 1),
    min_improvement=st.floats(0, 1),
    min_confidence=st.none() | st.floats(0.01, 0.99),
    guards=st.dictionaries(st.sampled_from(["g", "log_loss"]), st.floats(0, 1)),
    mode=st.sampled_from(["auto", "approve"]),
).map(lambda policy: policy.for_task("classification"))
metrics_of_a_model = st.fixed_dictionaries({}, optional={"m": values, "g": values, "log_loss": values})
certainties = st.none() | st.builds(
    Confidence, st.floats(0, 1), st.floats(-1, 0), st.floats(0, 1), st.integers(1000, 4000)
)


@given(policies, metrics_of_a_model, st.none() | metrics_of_a_model, certainties)
def test_nothing_beyond_the_floor_or_without_a_number_is_promoted(
    policy: Policy, challenger: dict[str, float], champion: dict[str, float] | None, sure: Confidence | None
) -> None:
    decision = decide(policy, challenger, champion, confidence=sure)
    assert decision.reason
    needed = ("m", *policy.guards)
    for whose, metrics in (("challenger", challenger), ("champion", champion)):
        absent = [name for name in needed if metrics is not None and not math.isfinite(metrics.get(name, math.nan))]
        if absent:
            assert decision.verdict == "refused"
            assert any(f"the {whose} has no {name}" in rule.message for rule in decision.rules for name in absent) or (
                whose == "champion"
            )
    if decision.verdict == "refused":
        assert any(not rule.passed for rule in decision.rules)
    elif policy.floor is not None:
        value = challenger["m"]
        assert value >= policy.floor if policy.higher_is_better else value <= policy.floor


@given(policies, metrics_of_a_model, metrics_of_a_model, certainties)
def test_two_models_are_never_both_better_than_each_other(
    policy: Policy, one: dict[str, float], other: dict[str, float], sure: Confidence | None
) -> None:
    verdicts = [decide(policy, a, b, confidence=sure).verdict for a, b in ((one, other), (other, one))]
    assert "refused" in verdicts


@given(policies, st.floats(-1, 1), st.floats(-1, 1))
def test_a_promotion_is_an_improvement(policy: Policy, challenger: float, champion: float) -> None:
    if decide(policy, {"m": challenger}, {"m": champion}).verdict != "refused":
        gain = challenger - champion if policy.higher_is_better else champion - challenger
        assert gain > 0
        assert gain >= policy.min_improvement - 1e-9


@given(policies, metrics_of_a_model, st.none() | metrics_of_a_model)
def test_a_frozen_or_rejected_version_is_never_promoted(
    policy: Policy, challenger: dict[str, float], champion: dict[str, float] | None
) -> None:
    for state in ({"frozen": "by ann"}, {"is_rejected": True}):
        assert decide(policy, challenger, champion, **state).verdict == "refused"
