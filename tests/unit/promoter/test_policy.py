"""The policy: which challenger becomes champion, and what people are told."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.promoter.policy import Policy, decide

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


policies = st.builds(
    Policy,
    metric=st.just("m"),
    higher_is_better=st.booleans(),
    floor=st.none() | st.floats(-1, 1),
    min_improvement=st.floats(0, 1),
).map(lambda policy: policy.for_task("classification"))
values = st.floats(allow_nan=True, allow_infinity=True, width=64) | st.floats(-1, 1)


@given(policies, values, st.none() | values)
def test_nothing_beyond_the_floor_or_without_a_number_is_promoted(
    policy: Policy, challenger: float, champion: float | None
) -> None:
    decision = decide(policy, {"m": challenger}, None if champion is None else {"m": champion})
    if decision.verdict == "promoted":
        assert math.isfinite(challenger)
        if policy.floor is not None:
            assert challenger >= policy.floor if policy.higher_is_better else challenger <= policy.floor
    else:
        assert decision.reason


@given(policies, values, values)
def test_two_models_are_never_both_better_than_each_other(policy: Policy, one: float, other: float) -> None:
    verdicts = [decide(policy, {"m": a}, {"m": b}).verdict for a, b in ((one, other), (other, one))]
    assert verdicts.count("promoted") <= 1


@given(policies, st.floats(-1, 1), st.floats(-1, 1))
def test_a_promotion_is_an_improvement(policy: Policy, challenger: float, champion: float) -> None:
    if decide(policy, {"m": challenger}, {"m": champion}).verdict == "promoted":
        gain = challenger - champion if policy.higher_is_better else champion - challenger
        assert gain > 0
        assert gain >= policy.min_improvement - 1e-9
