"""From a model's signature, or from rows, to the columns that predictors take."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from mlflow.models.signature import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

from services.promoter.bundling.inputs import inputs_of
from shared.bundle import Column
from shared.errors import BundleError

ROWS = pd.DataFrame({"a": [1.5, None], "b": [1, 2], "c": ["u", None], "d": [True, False], "target": [0, 1]})


def signature(*specs: ColSpec | TensorSpec) -> ModelSignature:
    return ModelSignature(inputs=Schema(list(specs)))


def test_a_signature_says_names_types_and_what_may_be_missing() -> None:
    found = inputs_of(
        signature(ColSpec("double", "a", required=False), ColSpec("integer", "b"), ColSpec("string", "c")), None, ROWS
    )
    assert found == [
        Column(name="a", type="double", required=False),
        Column(name="b", type="integer"),
        Column(name="c", type="string"),
    ]


def test_the_columns_of_an_array_are_numbered() -> None:
    array = signature(TensorSpec(np.dtype("int64"), (-1, 2)))
    rows = pd.DataFrame({"x0": [1], "x1": [2]})
    assert inputs_of(array, None, rows) == [Column(name="x0", type="long"), Column(name="x1", type="long")]


def test_without_a_signature_the_rows_say_it() -> None:
    assert inputs_of(None, None, ROWS[["a", "b", "c", "d"]]) == [
        Column(name="a", type="double", required=False),
        Column(name="b", type="double"),
        Column(name="c", type="string", required=False),
        Column(name="d", type="boolean"),
    ]


def test_without_a_signature_the_estimator_says_which_columns() -> None:
    estimator = SimpleNamespace(feature_names_in_=np.array(["b", "a"], dtype=object))
    assert [column.name for column in inputs_of(None, estimator, ROWS)] == ["b", "a"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (signature(ColSpec(DataType.datetime, "a")), "its input a is datetime: predictors take numbers"),
        (signature(ColSpec("double", "z"), ColSpec("double", "a")), "the golden rows lack the inputs z$"),
        (signature(TensorSpec(np.dtype("float64"), (-1, 28, 28))), "predictors take rows of numbers"),
        (signature(TensorSpec(np.dtype("float64"), (-1, 1))), "the golden rows lack the inputs x0"),
        (signature(TensorSpec(np.dtype("uint8"), (-1, 3))), "an array of uint8"),
    ],
)
def test_what_predictors_cannot_take_is_refused(given: ModelSignature, message: str) -> None:
    with pytest.raises(BundleError, match=message) as refused:
        inputs_of(given, None, ROWS)
    assert refused.value.check == "schema"
