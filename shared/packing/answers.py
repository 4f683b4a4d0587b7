"""scikit-learn's own answers: the truth that every runtime has to repeat."""

from typing import Any

import numpy as np
import pandas as pd

from shared.bundle import Label, Output
from shared.runtime import Prediction, from_probabilities
from shared.runtime.sklearn import taken_by


def output_of(estimator: Any) -> Output:
    """Return what a fitted estimator answers."""
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return Output(kind="regression")
    return Output(
        kind="classification",
        classes=[_label(value) for value in classes],
        probabilities=hasattr(estimator, "predict_proba"),
    )


def answers_of(estimator: Any, output: Output, rows: pd.DataFrame) -> Prediction:
    """Return scikit-learn's own answers for rows."""
    if output.probabilities:
        return from_probabilities(estimator.predict_proba(taken_by(estimator, rows)), output)
    return Prediction([_label(value) for value in estimator.predict(taken_by(estimator, rows))])


def _label(value: Any) -> Label:
    plain: Label = value.item() if isinstance(value, np.generic) else value
    return plain
