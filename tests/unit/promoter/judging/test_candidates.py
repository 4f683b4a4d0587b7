"""Which version the policy should judge."""

import math

import pytest

from services.promoter.judging.candidates import merit
from services.promoter.policy.file import Policies
from services.promoter.policy.policy import Policy

POLICIES = Policies(models={"prices": Policy(metric="mae")})


@pytest.mark.parametrize(
    ("metrics", "model", "expected"),
    [
        ({"roc_auc": 0.8, "accuracy": 0.7}, "any", 0.8),
        ({"r2": 0.4, "mae": 2.0}, "any", 0.4),
        ({"r2": 0.4, "mae": 2.0}, "prices", -2.0),
        ({"accuracy": 0.7}, "any", -math.inf),
        ({"roc_auc": math.nan}, "any", -math.inf),
        ({}, "any", -math.inf),
    ],
)
def test_merit(metrics: dict[str, float], model: str, expected: float) -> None:
    assert merit(metrics, POLICIES, model) == expected
