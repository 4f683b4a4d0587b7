"""Metrics: what is computed for which output, and what is left out."""

import numpy as np
import pytest

from shared.bundle import Output
from shared.metrics import evaluate
from shared.runtime import Prediction, from_probabilities

BINARY = Output(kind="classification", classes=["no", "yes"], probabilities=True)
THREE = Output(kind="classification", classes=[0, 1, 2], probabilities=True)
NUMBER = Output(kind="regression")


def test_binary() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]], dtype=np.float32)
    measured = evaluate(BINARY, ["no", "no", "yes", "yes"], from_probabilities(probabilities, BINARY))
    assert set(measured) == {"accuracy", "f1", "roc_auc", "log_loss", "brier"}
    assert measured["accuracy"] == 0.75
    assert measured["f1"] == pytest.approx(0.8)
    assert measured["roc_auc"] == 1.0
    assert measured["brier"] == pytest.approx((0.1**2 + 0.6**2 + 0.3**2 + 0.2**2) / 4)


def test_several_classes() -> None:
    probabilities = np.eye(3)[[0, 1, 2, 0]] * 0.7 + 0.1
    measured = evaluate(THREE, [0, 1, 2, 1], from_probabilities(probabilities, THREE))
    assert measured["accuracy"] == 0.75
    assert 0.5 < measured["roc_auc"] < 1.0


def test_what_is_not_defined_is_left_out() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2]])
    measured = evaluate(BINARY, ["no", "no"], from_probabilities(probabilities, BINARY))
    assert "roc_auc" not in measured
    assert measured["accuracy"] == 1.0
    assert "r2" not in evaluate(NUMBER, [1.0], Prediction([1.0]))


def test_a_class_that_the_model_does_not_know_is_named() -> None:
    with pytest.raises(ValueError, match="does not know: maybe"):
        evaluate(BINARY, ["no", "maybe"], from_probabilities(np.eye(2), BINARY))


def test_without_probabilities() -> None:
    labels = Output(kind="classification", classes=[False, True])
    assert evaluate(labels, [True, False], Prediction([True, True])) == {"accuracy": 0.5, "f1": pytest.approx(2 / 3)}


def test_regression() -> None:
    assert evaluate(NUMBER, [1.0, 2.0, 3.0], Prediction([1.0, 2.0, 4.0])) == {
        "r2": pytest.approx(0.5),
        "mae": pytest.approx(1 / 3),
        "rmse": pytest.approx(3**-0.5),
    }
