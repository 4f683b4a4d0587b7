"""Plots of a model's answers on the held-out rows."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay, PredictionErrorDisplay, RocCurveDisplay

from shared.bundle import Label

if TYPE_CHECKING:
    from services.trainer.training import Result


def draw(result: "Result") -> Iterator[tuple[str, Figure]]:
    """Yield file names and figures that suit the task."""
    truth = result.dataset.held_out_target.to_numpy()
    if result.manifest.output.kind == "regression":
        figure, axes = _canvas()
        PredictionErrorDisplay.from_predictions(truth, result.answers.values, ax=axes)
        yield "plots/predicted_vs_actual.png", figure
        return
    figure, axes = _canvas()
    ConfusionMatrixDisplay.from_predictions(truth, result.answers.values, ax=axes, colorbar=False)
    yield "plots/confusion_matrix.png", figure
    if result.answers.probabilities is not None:
        yield "plots/roc_curve.png", _roc(result.manifest.output.classes, truth, result.answers.probabilities)


def _roc(labels: list[Label], truth: np.ndarray, probabilities: np.ndarray) -> Figure:
    """Draw one curve, of the second class, or one per class where there are more than two."""
    figure, axes = _canvas()
    classes = list(enumerate(labels))
    for index, label in classes[1:] if len(classes) == 2 else classes:
        if 0 < (truth == label).sum() < len(truth):
            RocCurveDisplay.from_predictions(truth == label, probabilities[:, index], name=str(label), ax=axes)
    return figure


def _canvas() -> tuple[Figure, Any]:
    figure = Figure(figsize=(5, 4), layout="constrained")
    return figure, figure.subplots()
