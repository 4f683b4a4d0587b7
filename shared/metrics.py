"""How good answers are: the metrics of a run and of a comparison, computed in one place.

A metric that is not defined for the rows at hand (one class only, for instance) is left out, never NaN.
"""

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from sklearn import metrics
from sklearn.exceptions import UndefinedMetricWarning

from shared.bundle import Label, Output
from shared.runtime import Prediction

METRICS = ("accuracy", "brier", "f1", "log_loss", "mae", "r2", "rmse", "roc_auc")
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "mae", "rmse"})


def evaluate(output: Output, truth: Sequence[Label], answer: Prediction) -> dict[str, float]:
    """Compare answers with the truth of n rows.

    Classification: accuracy and f1 (of the second class, or the macro mean), with probabilities also roc_auc (of the
    second class, or the one-versus-rest macro mean), log_loss and brier. Regression: r2, mae, rmse. Raise `ValueError`
    for a class that the model does not know.
    """
    if output.kind == "regression":
        measured = _regression(np.asarray(truth, float), np.asarray(answer.values, float))
    else:
        measured = _classification(output.classes, truth, answer)
    values = {name: _defined(metric) for name, metric in measured.items()}
    return {name: value for name, value in values.items() if value is not None}


Metric = Callable[[], float]


def _regression(truth: np.ndarray, values: np.ndarray) -> dict[str, Metric]:
    return {
        "r2": lambda: metrics.r2_score(truth, values),
        "mae": lambda: metrics.mean_absolute_error(truth, values),
        "rmse": lambda: metrics.root_mean_squared_error(truth, values),
    }


def _classification(classes: Sequence[Label], truth: Sequence[Label], answer: Prediction) -> dict[str, Metric]:
    # Positions instead of labels: booleans, integers and strings are then all the same to scikit-learn.
    position = {label: index for index, label in enumerate(classes)}
    unknown = sorted({str(label) for label in truth if label not in position})
    if unknown:
        raise ValueError(f"the rows hold classes that the model does not know: {', '.join(unknown)}")
    expected = np.asarray([position[label] for label in truth])
    given = np.asarray([position[label] for label in answer.values])
    average = "binary" if len(classes) == 2 else "macro"
    measured: dict[str, Metric] = {
        "accuracy": lambda: metrics.accuracy_score(expected, given),
        "f1": lambda: metrics.f1_score(expected, given, average=average, zero_division=0.0),
    }
    if answer.probabilities is not None:
        measured |= _probabilistic(expected, answer.probabilities)
    return measured


def _probabilistic(expected: np.ndarray, probabilities: np.ndarray) -> dict[str, Metric]:
    labels = np.arange(probabilities.shape[1])
    one_hot = np.eye(len(labels))[expected]
    binary = len(labels) == 2
    # float32 probabilities miss a sum of one by more than log_loss takes without a warning.
    exact = probabilities.astype(float) / probabilities.astype(float).sum(axis=1, keepdims=True)
    return {
        "roc_auc": lambda: (
            metrics.roc_auc_score(expected, exact[:, 1])
            if binary
            else metrics.roc_auc_score(expected, exact, multi_class="ovr", labels=labels)
        ),
        "log_loss": lambda: metrics.log_loss(expected, exact, labels=labels),
        "brier": lambda: float(((exact - one_hot) ** 2).sum(axis=1).mean() / (2 if binary else 1)),
    }


def _defined(metric: Metric) -> float | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        try:
            value = float(metric())
        except ValueError:  # how scikit-learn says that a metric is undefined for these rows
            return None
    return value if math.isfinite(value) else None
