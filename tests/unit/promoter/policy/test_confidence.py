"""How sure held-out rows make us: metrics of resamples, and the paired bootstrap over them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.promoter.policy.confidence import RESAMPLES, Pair, confidence
from services.promoter.policy.weighted import weighted
from shared.bundle import Label, Output
from shared.metrics import LOWER_IS_BETTER, evaluate
from shared.runtime import Prediction, from_probabilities

BINARY = Output(kind="classification", classes=["no", "yes"], probabilities=True)
THREE = Output(kind="classification", classes=[0, 1, 2], probabilities=True)
NUMBER = Output(kind="regression")
METRICS = {
    "binary": ("accuracy", "f1", "roc_auc", "log_loss", "brier"),
    "three": ("accuracy", "f1", "roc_auc", "log_loss", "brier"),
    "number": ("r2", "mae", "rmse"),
}


def answers(output: Output, truth: np.ndarray, noise: float, seed: int) -> Prediction:
    """Answer the better the less noise, with ties."""
    random = np.random.default_rng(seed)
    if output.kind == "regression":
        return Prediction((truth + random.normal(scale=noise, size=len(truth))).tolist())
    raw = np.eye(len(output.classes))[truth] + random.uniform(0, noise, size=(len(truth), len(output.classes)))
    rounded = np.round(raw, 1) + 0.05
    return from_probabilities(rounded / rounded.sum(axis=1, keepdims=True), output)


def case(kind: str, rows: int, noise: float, seed: int) -> tuple[Output, list[Label], Prediction]:
    random = np.random.default_rng(99)
    if kind == "number":
        values = random.normal(loc=1e5, size=rows)
        return NUMBER, values.tolist(), answers(NUMBER, values, noise, seed)
    output = BINARY if kind == "binary" else THREE
    labels = np.arange(rows) % len(output.classes)
    return output, [output.classes[label] for label in labels], answers(output, labels, noise, seed)


def pair(kind: str, better: float, worse: float, rows: int = 60) -> Pair:
    output, truth, challenger = case(kind, rows, better, 1)
    return Pair(output, truth, challenger, case(kind, rows, worse, 2)[2], seed=7)


@pytest.mark.parametrize(("kind", "metric"), [(kind, metric) for kind, names in METRICS.items() for metric in names])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_resample_s_metric_is_that_of_its_rows(kind: str, metric: str, seed: int) -> None:
    """Counts say what drawing the rows would: judged by the metrics that every version is judged by."""
    output, truth, answer = case(kind, 30, 0.9, 3)
    drawn = np.random.default_rng(seed).integers(0, 30, size=30)
    rows = Prediction(
        [answer.values[row] for row in drawn], None if answer.probabilities is None else answer.probabilities[drawn]
    )
    expected = evaluate(output, [truth[row] for row in drawn], rows).get(metric)
    function = weighted(metric, output, truth, answer)
    assert function is not None
    (got,) = function(np.bincount(drawn, minlength=30)[None, :])
    if expected is None:
        assert np.isnan(got)
    else:
        assert got == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("kind", "metric"), [(kind, metric) for kind, names in METRICS.items() for metric in names])
def test_a_better_model_is_known_as_such_and_turned_around_as_worse(kind: str, metric: str) -> None:
    judged = pair(kind, 0.3, 3.0)
    turned = Pair(judged.output, judged.truth, judged.champion, judged.challenger, judged.seed)
    higher = metric not in LOWER_IS_BETTER
    found, opposite = (confidence(each, metric, higher_is_better=higher) for each in (judged, turned))
    assert found is not None
    assert opposite is not None
    assert found.probability > 0.9
    assert found.probability + opposite.probability <= 1
    assert (opposite.low, opposite.high) == pytest.approx((-found.high, -found.low))
    assert found.low <= found.high
    assert found == confidence(judged, metric, higher_is_better=higher), "the same rows give the same answer"


def test_equal_models_are_not_better() -> None:
    output, truth, answer = case("binary", 60, 0.9, 1)
    found = confidence(Pair(output, truth, answer, answer, seed=1), "roc_auc", higher_is_better=True)
    assert found is not None
    assert (found.probability, found.low, found.high, found.resamples) == (0.0, 0.0, 0.0, RESAMPLES)


@pytest.mark.parametrize("metric", ["gain", "rmse"])
def test_an_unknown_metric_has_no_confidence(metric: str) -> None:
    assert confidence(pair("binary", 0.3, 0.9), metric, higher_is_better=True) is None


def test_rows_of_one_class_have_no_confidence() -> None:
    output, _, answer = case("binary", 60, 0.9, 1)
    assert confidence(Pair(output, ["no"] * 60, answer, answer, seed=1), "roc_auc", higher_is_better=True) is None


def test_many_rows_are_drawn_in_parts() -> None:
    found = confidence(pair("number", 0.3, 0.5, rows=20_000), "mae", higher_is_better=False)
    assert found is not None
    assert found.probability == 1.0
