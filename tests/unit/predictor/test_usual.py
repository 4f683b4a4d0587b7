"""Usual rows are taken without a look at each value, and exactly as the whole validator would take them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.predictor.seen import Seen
from services.predictor.usual import usual
from services.predictor.validator import Validator
from shared.bundle import Block, Column
from shared.errors import InputError

KINDS = ("double", "float", "long", "integer")
VALUES = st.one_of(
    st.integers(-12, 12),
    st.floats(-12, 12),
    st.sampled_from([0.1, 0.7, 1e39, 10**400, float("nan"), float("inf"), -0.0, None, True, "1", [1]]),
)


def inputs_of(kind: Any, low: float = -10, high: float = 10) -> list[Column]:
    return [Column(name=name, type=kind, minimum=low, maximum=high) for name in ("x", "y")]


@settings(deadline=None)
@given(
    kind=st.sampled_from(KINDS), low=st.sampled_from([-10, 0.1]), row=st.fixed_dictionaries({"x": VALUES, "y": VALUES})
)
def test_what_is_taken_is_what_the_validator_takes(kind: str, low: float, row: dict[str, Any]) -> None:
    inputs = inputs_of(kind, low)
    taking, validator = usual(inputs), Validator(inputs)
    assert taking is not None
    taken = taking.taken(row)
    validator._usual = None
    try:
        columns = validator.rows([row])
    except InputError:
        assert taken is None
        return
    if taken is None:
        return
    assert type(columns) is Block
    assert Seen(inputs).outside(columns) == []
    assert taken.matrix.dtype == columns.matrix.dtype
    np.testing.assert_array_equal(taken.matrix, columns.matrix)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", [{"x": -10, "y": 10}, {"y": 0, "x": 1}])
def test_rows_within_the_ranges_are_taken(kind: str, row: dict[str, Any]) -> None:
    taking = usual(inputs_of(kind))
    assert taking is not None
    taken = taking.taken(row)
    assert taken is not None
    assert taken.is_usual
    assert taken.matrix.tolist() == [[row["x"], row["y"]]]


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"x": 1},
        {"x": 1, "z": 1},
        {"x": 1, "y": 1, "z": 1},
        {"x": 1, "y": None},
        {"x": 11, "y": 1},
        {"x": 1, "y": "1"},
    ],
)
def test_everything_else_is_left_to_the_validator(row: dict[str, Any]) -> None:
    taking = usual(inputs_of("double"))
    assert taking is not None
    assert taking.taken(row) is None


@pytest.mark.parametrize(
    "inputs",
    [
        [*inputs_of("double"), Column(name="text", type="string")],
        [*inputs_of("double"), Column(name="many", type="long", minimum=0, maximum=1)],
        [*inputs_of("double"), Column(name="any", type="double")],
        inputs_of("double", -1e300),
    ],
    ids=["texts", "two types", "no range", "beyond single precision"],
)
def test_models_whose_rows_need_a_closer_look_have_no_usual_rows(inputs: list[Column]) -> None:
    assert usual(inputs) is None
