"""Compiled answers beside scikit-learn's own."""

from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline

from shared.bundle import Column, Columns
from shared.packing import answers_of, output_of
from shared.packing.conversion import convert
from shared.runtime import Prediction
from shared.runtime.onnx import OnnxRuntime
from shared.runtime.sklearn import frame_of


def compiled(estimator: Any, columns: Columns) -> OnnxRuntime:
    inputs = [
        Column(name=name, type="string" if values.dtype == object else "double", required=False)
        for name, values in columns.items()
    ]
    output = output_of(estimator)
    return OnnxRuntime(convert(estimator, inputs, output), output)


def both(estimator: Any, columns: Columns) -> tuple[Prediction, Prediction]:
    """Return the compiled answers and scikit-learn's."""
    own = answers_of(estimator, output_of(estimator), frame_of(columns))
    return compiled(estimator, columns).predict(columns), own


def assert_close(got: Prediction, expected: Prediction) -> None:
    """Compare quantities to the last digits."""
    np.testing.assert_allclose(np.asarray(got.values, float), np.asarray(expected.values, float), rtol=1e-14)


def weighed(step: Any, training: Columns) -> Pipeline:
    """Return a fitted step with a model behind it that makes another number of every row."""
    width = step.fit(frame_of(training)).transform(frame_of(training)).shape[1]
    model = LinearRegression().fit(np.eye(width), np.sqrt(np.arange(1, width + 1)) + 0.1)
    return Pipeline([("step", step), ("model", model)])


def numbers(*values: float | None) -> np.ndarray:
    return np.array(values, np.float64)


def text(*values: str | None) -> np.ndarray:
    return np.array(values, object)
