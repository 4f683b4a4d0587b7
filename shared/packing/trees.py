"""Trees as ONNX, to the same leaves as in scikit-learn: skl2onnx's round otherwise, and are ten times slower to write.

Most trees of scikit-learn look at their rows in float32, after everything before them was computed in double; those of
histogram-based gradient boosting look at doubles.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto
from skl2onnx.common.data_types import DoubleTensorType, Int64TensorType, StringTensorType
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from shared.packing.ensemble import Tree, ensemble
from shared.packing.graph import Part


def _tree(tree: Any, value: np.ndarray, target: int = 0) -> Tree:
    return Tree(tree.children_left < 0, tree.feature, tree.threshold, tree.children_left, tree.children_right,
                tree.missing_go_to_left.astype(bool), tree.n_node_samples, value, target)  # fmt: skip


def convert_forest(scope: Any, operator: Any, container: Any) -> None:
    """Convert the mean of trees, or one tree alone."""
    part = Part(scope, operator, container)
    forest = part.step
    if forest.n_outputs_ != 1:
        raise NotImplementedError("trees with several outputs")
    trees = [each.tree_ for each in getattr(forest, "estimators_", [forest])]
    rows, count = _in_float32(part), np.array([[len(trees)]], np.float64)
    if not hasattr(forest, "classes_"):
        summed = ensemble(part, rows, [_tree(tree, tree.value[:, 0, 0]) for tree in trees], 1, dtype=np.float32)
        part.give(part.add("Div", summed, count))
    elif len(forest.classes_) == 2:
        summed = ensemble(part, rows, [_tree(tree, tree.value[:, 0, 1]) for tree in trees], 1, dtype=np.float32)
        _give_two_classes(part, part.add("Div", summed, count))
    else:
        _give_classes(part, _mean_of_leaves(part, rows, trees))


def _mean_of_leaves(part: Part, rows: str, trees: Sequence[Any]) -> str:
    """Return the mean of the trees' leaves, each of which holds one value per class.

    A leaf of the operator adds to one output only, so each tree says which leaf it was.
    """
    numbered = [_tree(tree, np.cumsum(tree.children_left < 0) - 1, target) for target, tree in enumerate(trees)]
    values = [tree.value[tree.children_left < 0, 0, :] for tree in trees]
    first = np.cumsum([0, *(len(value) for value in values[:-1])]).reshape(1, -1)
    leaf = part.add("Cast", ensemble(part, rows, numbered, len(numbered), dtype=np.float32), to=TensorProto.INT64)
    found = part.add("Gather", np.concatenate(values), part.add("Add", leaf, first), axis=0)
    return part.add("ReduceMean", found, np.array([1], np.int64), keepdims=0)


def convert_gradient_boosting(scope: Any, operator: Any, container: Any) -> None:
    """Convert the first guess and the trees that correct it."""
    part = Part(scope, operator, container)
    boosting = part.step
    if boosting.init not in (None, "zero"):
        raise NotImplementedError("gradient boosting that starts from an estimator")
    trees = [
        _tree(each.tree_, each.tree_.value[:, 0, 0] * boosting.learning_rate, target)
        for stage in boosting.estimators_
        for target, each in enumerate(stage)
    ]
    base = boosting._raw_predict_init(np.zeros((1, boosting.n_features_in_), np.float32)).astype(np.float64)
    raw = part.add("Add", ensemble(part, _in_float32(part), trees, base.shape[1], dtype=np.float32), base)
    if boosting.loss == "exponential":
        raw = part.add("Mul", raw, np.array([[2.0]]))
    _give_from_raw(part, raw, base.shape[1])


def convert_hist_gradient_boosting(scope: Any, operator: Any, container: Any) -> None:
    """Convert histogram-based gradient boosting, with what is missing, without categories of its own."""
    part = Part(scope, operator, container)
    boosting = part.step
    if boosting.is_categorical_ is not None:
        raise NotImplementedError("histogram-based gradient boosting with categorical_features")
    trees = [_hist_tree(each.nodes, target) for stage in boosting._predictors for target, each in enumerate(stage)]
    base = np.asarray(boosting._baseline_prediction, np.float64).reshape(1, -1)
    raw = part.add("Add", ensemble(part, part.rows(), trees, base.shape[1], dtype=np.float64), base)
    if not hasattr(boosting, "classes_") and type(boosting._loss.link).__name__ == "LogLink":
        raw = part.add("Exp", raw)
    _give_from_raw(part, raw, base.shape[1])


def _hist_tree(nodes: np.ndarray, target: int) -> Tree:
    is_leaf, missing_left = nodes["is_leaf"].astype(bool), nodes["missing_go_to_left"].astype(bool)
    left, right = nodes["left"].astype(int), nodes["right"].astype(int)
    return Tree(is_leaf, nodes["feature_idx"], nodes["num_threshold"], left, right,
                missing_left, nodes["count"], nodes["value"], target)  # fmt: skip


def _in_float32(part: Part) -> str:
    """Return the rows as most trees see them: rounded to float32."""
    return part.add("Cast", part.rows(), to=TensorProto.FLOAT)


def _give_from_raw(part: Part, raw: str, targets: int) -> None:
    if not hasattr(part.step, "classes_"):
        part.give(raw)
    elif targets == 1:
        _give_two_classes(part, part.add("Sigmoid", raw))
    else:
        _give_classes(part, part.add("Softmax", raw, axis=1))


def _give_two_classes(part: Part, second: str) -> None:
    first = part.add("Sub", np.ones((1, 1)), second)
    _give_classes(part, part.add("Concat", first, second, axis=1))


def _give_classes(part: Part, probabilities: str) -> None:
    """Give the most probable class, and the probabilities."""
    labels = part.step.classes_ if isinstance(part.step.classes_[0], str) else part.step.classes_.astype(np.int64)
    best = part.add("ArgMax", probabilities, axis=1, keepdims=0)
    part.give(part.add("Gather", labels.astype(object) if labels.dtype.kind == "U" else labels, best, axis=0))
    part.give(probabilities, 1)


def classes_and_doubles(operator: Any) -> None:
    """Say that a classifier answers with a class and, as doubles, with probabilities."""
    classes, rows = operator.raw_operator.classes_, operator.inputs[0].get_first_dimension()
    label = StringTensorType if isinstance(classes[0], str) else Int64TensorType
    operator.outputs[0].type = label([rows])
    operator.outputs[1].type = DoubleTensorType([rows, len(classes)])


_FORESTS = (
    DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor, ExtraTreesClassifier,
    ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor,
)  # fmt: skip
CONVERTERS: dict[type, Any] = {
    **dict.fromkeys(_FORESTS, convert_forest),
    **dict.fromkeys((GradientBoostingClassifier, GradientBoostingRegressor), convert_gradient_boosting),
    **dict.fromkeys((HistGradientBoostingClassifier, HistGradientBoostingRegressor), convert_hist_gradient_boosting),
}
SHAPES = {kind: classes_and_doubles for kind in CONVERTERS if kind.__name__.endswith("Classifier")}
