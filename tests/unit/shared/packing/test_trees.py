"""Compiled trees: the same leaf as in scikit-learn, at split points, far outside, and where values are missing."""

from typing import Any

import numpy as np
import onnx
import pytest
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

from shared.bundle import Column, Columns
from shared.packing import output_of
from shared.packing.conversion import convert
from shared.packing.perturb import perturbed
from shared.runtime.sklearn import frame_of
from tests.unit.shared.packing.kit import both, compiled

RANDOM = np.random.default_rng(0)
ROWS: Columns = {"x": RANDOM.normal(size=150), "y": RANDOM.integers(0, 5, 150) / 3, "z": RANDOM.normal(1e6, 1, 150)}
INPUTS = [Column(name=name, type="double") for name in ROWS]
SUM = ROWS["x"] + ROWS["y"] + (ROWS["z"] > 1e6)
TARGETS = {
    "two": (SUM > 1).astype(int),
    "three": np.array(["a", "b", "c"])[np.digitize(SUM, [0.5, 1.5])],
    "quantity": 1e5 + SUM,
}
NUMBER = {"random_state": 0}


def gaps(columns: Columns) -> Columns:
    return {name: np.where(RANDOM.random(len(values)) < 0.2, np.nan, values) for name, values in columns.items()}


def assert_alike(model: Any, target: str, rows: Columns, asked: Columns) -> None:
    got, expected = both(model.fit(frame_of(rows), TARGETS[target]), asked)
    assert got.values == (pytest.approx(expected.values, rel=1e-13) if target == "quantity" else expected.values)
    if got.probabilities is not None and expected.probabilities is not None:
        np.testing.assert_allclose(got.probabilities, expected.probabilities, atol=1e-14)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize(
    ("classifier", "regressor"),
    [
        (DecisionTreeClassifier(**NUMBER), DecisionTreeRegressor(**NUMBER)),
        (ExtraTreeClassifier(**NUMBER), ExtraTreesRegressor(7, **NUMBER)),
        (RandomForestClassifier(20, **NUMBER), RandomForestRegressor(20, **NUMBER)),
        (RandomForestClassifier(9, min_samples_leaf=9, **NUMBER), RandomForestRegressor(9, max_depth=1, **NUMBER)),
        (ExtraTreesClassifier(20, **NUMBER), ExtraTreesRegressor(20, min_samples_leaf=4, **NUMBER)),
        (GradientBoostingClassifier(n_estimators=9, **NUMBER), GradientBoostingRegressor(n_estimators=9, **NUMBER)),
        (GradientBoostingClassifier(init="zero", n_estimators=3), GradientBoostingRegressor(loss="huber")),
        (HistGradientBoostingClassifier(max_iter=9), HistGradientBoostingRegressor(max_iter=9)),
        (BaggingClassifier(n_estimators=3, **NUMBER), HistGradientBoostingRegressor(loss="poisson", max_iter=9)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_trees_agree_at_split_points_and_far_outside(target: str, scale: bool, classifier: Any, regressor: Any) -> None:
    model = regressor if target == "quantity" else classifier
    made = perturbed(ROWS, INPUTS, 1000)
    assert_alike(make_pipeline(StandardScaler(), model) if scale else model, target, ROWS, made)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("classifier", "regressor"),
    [
        (RandomForestClassifier(20, **NUMBER), RandomForestRegressor(20, **NUMBER)),
        (ExtraTreesClassifier(9, min_samples_leaf=9, **NUMBER), ExtraTreesRegressor(20, min_samples_leaf=4, **NUMBER)),
        (GradientBoostingClassifier(n_estimators=9, **NUMBER), GradientBoostingRegressor(n_estimators=9, **NUMBER)),
        (HistGradientBoostingClassifier(max_iter=9), HistGradientBoostingRegressor(max_iter=9)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_trees_in_several_operators_agree(
    target: str, classifier: Any, regressor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.packing.ensemble.BRANCHES", 10)
    model = regressor if target == "quantity" else classifier
    assert_alike(model, target, ROWS, perturbed(ROWS, INPUTS, 1000))
    graph = onnx.load_model_from_string(convert(model, INPUTS, output_of(model))).graph
    assert sum(node.op_type == "TreeEnsemble" for node in graph.node) > 1


@pytest.mark.parametrize(
    "model",
    [
        RandomForestRegressor(20, **NUMBER),
        GradientBoostingRegressor(init="zero", learning_rate=1, max_depth=None, n_estimators=3, **NUMBER),
    ],
    ids=lambda model: type(model).__name__,
)
def test_trees_whose_leaves_are_whole_numbers_agree(model: Any) -> None:
    counts = np.round(100 * SUM)
    got, expected = both(model.fit(frame_of(ROWS), counts), perturbed(ROWS, INPUTS, 1000))
    assert got.values == pytest.approx(expected.values, rel=1e-15)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("classifier", "regressor"),
    [
        (DecisionTreeClassifier(**NUMBER), DecisionTreeRegressor(**NUMBER)),
        (RandomForestClassifier(20, **NUMBER), RandomForestRegressor(20, **NUMBER)),
        (HistGradientBoostingClassifier(max_iter=9), HistGradientBoostingRegressor(max_iter=9)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_what_is_missing_goes_the_way_it_went_in_training(target: str, classifier: Any, regressor: Any) -> None:
    model = regressor if target == "quantity" else classifier
    assert_alike(model, target, gaps(ROWS), gaps(perturbed(ROWS, INPUTS, 1000)))


@pytest.mark.parametrize("target", TARGETS)
def test_infinite_values_go_the_way_they_go_in_scikit_learn(target: str) -> None:
    model = (HistGradientBoostingRegressor if target == "quantity" else HistGradientBoostingClassifier)(max_iter=9)
    asked = {
        name: np.where(RANDOM.random(150) < 0.3, RANDOM.choice([-np.inf, np.inf], 150), ROWS[name]) for name in ROWS
    }
    assert_alike(model, target, gaps(ROWS), gaps(asked))


@pytest.mark.parametrize("target", TARGETS)
def test_trees_that_are_one_leaf_are_trees(target: str) -> None:
    kind = RandomForestRegressor if target == "quantity" else RandomForestClassifier
    stumps, forest = kind(3, min_samples_leaf=150), kind(3, max_depth=2, random_state=0)
    assert_alike(stumps, target, ROWS, ROWS)
    forest.fit(frame_of(ROWS), TARGETS[target])
    forest.estimators_[1] = stumps.estimators_[0]
    got, expected = both(forest, ROWS)
    assert got.values == (pytest.approx(expected.values) if target == "quantity" else expected.values)


def test_exponential_loss_has_its_own_probabilities() -> None:
    assert_alike(GradientBoostingClassifier(loss="exponential", n_estimators=9), "two", ROWS, ROWS)


@pytest.mark.parametrize(
    "model",
    [
        HistGradientBoostingRegressor(categorical_features=[1], max_iter=3),
        GradientBoostingRegressor(init=Ridge(), n_estimators=3),
    ],
)
def test_what_is_not_compiled_says_so(model: Any) -> None:
    with pytest.raises(NotImplementedError, match="gradient boosting"):
        compiled(model.fit(frame_of(ROWS), TARGETS["quantity"]), ROWS)
