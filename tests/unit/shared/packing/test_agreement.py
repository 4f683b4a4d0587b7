"""Perturbed rows, and what counts as agreement."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from shared.bundle import Column, Columns
from shared.packing import output_of
from shared.packing.agreement import compare, differences_of
from shared.packing.perturb import perturbed
from shared.runtime import Prediction
from shared.runtime.sklearn import frame_of
from tests.unit.shared.packing.kit import compiled, numbers, text

INPUTS = [
    Column(name="x", type="double", required=False),
    Column(name="code", type="long"),
    Column(name="is", type="boolean"),
    Column(name="colour", type="string", required=False),
    Column(name="kind", type="string"),
]
ROWS: Columns = {
    "x": numbers(0.0, 1.0, 4.0, None),
    "code": np.array([1, 2, 3, 9]),
    "is": np.array([True, False, True, True]),
    "colour": text("red", "blue", None, "red"),
    "kind": text("a", "b", "a", "b"),
}


def test_perturbed_rows_hold_what_no_table_does_and_miss_only_what_may_be_missing() -> None:
    made = perturbed(ROWS, INPUTS, 5000)
    assert [values.dtype for values in made.values()] == [values.dtype for values in ROWS.values()]
    x, colours, kinds = made["x"], set(made["colour"]), set(made["kind"])
    assert np.isnan(x).any()
    assert {0.5, 2.5, float(np.nextafter(np.float32(2.5), np.float32(3))), np.nextafter(2.5, 3.0)} <= set(x)
    assert (np.nanmin(x), np.nanmax(x)) == (-4e6, 4e6 + 4)
    assert {None, "red", "Red", "red ", "RED", "re", ""} - colours <= {"Red"}
    assert None not in kinds
    assert "unseen" in kinds
    assert {0, 1, 2, 9, 10} <= set(made["code"].tolist())


def test_the_same_seed_makes_the_same_rows() -> None:
    one, two, other = (perturbed(ROWS, INPUTS, 200, seed) for seed in (1, 1, 2))
    assert repr(one) == repr(two) != repr(other)


def test_a_column_without_a_value_can_be_perturbed() -> None:
    empty = {"x": numbers(None, None), "t": text(None, None)}
    inputs = [Column(name="x", type="double", required=False), Column(name="t", type="string", required=False)]
    assert len(perturbed(empty, inputs, 10)["t"]) == 10


def probabilities(*rows: list[float]) -> Prediction:
    table = np.array(rows)
    return Prediction(table.argmax(axis=1).tolist(), table)


@pytest.mark.parametrize(
    ("got", "expected", "difference"),
    [
        (Prediction([1e5 + 1, 2.0]), Prediction([1e5, 2.0]), [1e-5, 0.0]),
        (Prediction([3.0]), Prediction([2.0]), [1 / 50]),  # of the scale, which is larger
        (Prediction([np.inf, -np.inf]), Prediction([np.inf, np.inf]), [0.0, np.inf]),
        (Prediction([np.nan]), Prediction([1.0]), [np.inf]),
        (Prediction(["a", "b"]), Prediction(["a", "a"]), [0.0, np.inf]),
        (probabilities([0.4, 0.6]), probabilities([0.4, 0.6]), [0.0]),
        (probabilities([0.500001, 0.499999]), probabilities([0.499999, 0.500001]), [2e-6 / 50]),  # as good as a tie
        (probabilities([0.51, 0.49]), probabilities([0.49, 0.51]), [np.inf]),
    ],
)
def test_how_far_answers_are_apart(got: Prediction, expected: Prediction, difference: list[float]) -> None:
    np.testing.assert_allclose(differences_of(got, expected, scale=50.0), difference, rtol=1e-9)


def test_a_model_that_differs_on_unseen_rows_only_does_not_agree() -> None:
    rows: Columns = {"x": numbers(*range(40))}
    inputs = [Column(name="x", type="double")]
    model = LinearRegression().fit(frame_of(rows), np.arange(40.0))

    class Clipped:
        def predict(self, columns: Columns) -> Prediction:
            return Prediction([float(min(value, 40.0)) for value in columns["x"]])

    fitted = (model, output_of(model))
    found = compare(Clipped(), fitted, inputs, rows, count=100)
    assert found.fault is not None
    assert "of 100 perturbed rows are off" in found.fault
    agreed = compare(compiled(model, rows), fitted, inputs, rows, count=100)
    assert (agreed.fault, agreed.rows, agreed.perturbed) == (None, 40, 100)
    assert agreed.largest < 1e-12
    assert str(agreed).startswith("40 held-out and golden rows and 100 perturbed ones")


def test_rows_that_scikit_learn_refuses_are_not_answered_in_its_stead() -> None:
    rows: Columns = {"kind": text(*["a", "b"] * 20)}
    truth: Any = pd.Series([0, 1] * 20)
    model = make_pipeline(OneHotEncoder(handle_unknown="error"), LogisticRegression()).fit(frame_of(rows), truth)
    inputs = [Column(name="kind", type="string")]
    found = compare(compiled(model, rows), (model, output_of(model)), inputs, rows, count=100)
    assert found.fault is not None
    assert "refuses some of 100 perturbed rows" in found.fault
    assert "unknown categories" in found.fault
