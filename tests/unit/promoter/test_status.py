"""How far a worker is behind the ledger."""

from typing import Any

import pytest

from services.promoter.status import with_lag

STANDINGS: list[dict[str, Any]] = [
    {"model": "a", "champion": "3", "generation": 5},
    {"model": "gone", "champion": None, "generation": 2},
]


@pytest.mark.parametrize(
    ("served", "lags"),
    [
        ({"a": {"version": "3", "generation": 5}}, {"a": 0}),
        ({"a": {"version": "2", "generation": 3}}, {"a": 2}),
        ({}, {"a": 5}),
        ({"gone": {"version": "1", "generation": 1}}, {"a": 5, "gone": 1}),
        ({"unknown": {"version": "1", "generation": 1}}, {"a": 5, "unknown": None}),
    ],
)
def test_the_lag_of_each_model(served: dict[str, Any], lags: dict[str, int | None]) -> None:
    worker = with_lag({"predictor": "p", "models": served, "only": None}, STANDINGS)
    assert {model: found["lag"] for model, found in worker["models"].items()} == lags


def test_a_model_that_is_not_served_there_is_not_behind() -> None:
    for only, mentioned in ((["other"], []), (["a"], ["a"])):
        worker = with_lag({"predictor": "p", "models": {}, "only": only}, STANDINGS)
        assert list(worker["models"]) == mentioned
