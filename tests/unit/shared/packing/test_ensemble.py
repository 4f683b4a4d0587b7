"""Trees laid out for the processor's caches: the same leaf for every row, and most rows go right."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from shared.bundle import Column, Columns, Output
from shared.packing.conversion import convert
from shared.packing.ensemble import Tree, in_groups, mostly_right, rounded_down
from shared.runtime.sklearn import frame_of

FEATURES = 2
ROWS: Columns = {"x": np.arange(100.0), "y": np.arange(100.0) % 7}
RARE = np.arange(100) % 9 == 0
LARGEST = float(np.finfo(float).max)
SINGLE = float(np.finfo(np.float32).max)
EDGES = (
    LARGEST,
    SINGLE,
    math.nextafter(SINGLE, math.inf),
    1e39,
    1.0,
    math.nextafter(1, 2),
    1e-46,
    5e-324,
    0.0,
    math.inf,
)
NUMBERS = st.sampled_from([*EDGES, *(-edge for edge in EDGES)]) | st.floats(allow_nan=False)


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Return a tree of up to 7 branches, grown where a leaf was drawn."""
    branches = draw(st.integers(1, 7))
    nodes = 2 * branches + 1
    is_leaf, left, right = np.ones(nodes, bool), np.zeros(nodes, int), np.zeros(nodes, int)
    rows = np.array(draw(st.lists(st.integers(1, 100), min_size=nodes, max_size=nodes)))
    leaves = [0]
    for branch in range(branches):
        node = leaves.pop(draw(st.integers(0, len(leaves) - 1)))
        is_leaf[node], left[node], right[node] = False, 2 * branch + 1, 2 * branch + 2
        leaves += [2 * branch + 1, 2 * branch + 2]
    listed = st.lists(NUMBERS, min_size=nodes, max_size=nodes)
    feature = draw(st.lists(st.integers(0, FEATURES - 1), min_size=nodes, max_size=nodes))
    missing = draw(st.lists(st.booleans(), min_size=nodes, max_size=nodes))
    return Tree(
        is_leaf, np.array(feature), np.array(draw(listed)), left, right, np.array(missing), rows, np.arange(nodes)
    )


def leaf(tree: Tree, row: list[float]) -> int:
    node = 0
    while not tree.is_leaf[node]:
        value = row[tree.feature[node]]
        goes_left = tree.missing_left[node] if math.isnan(value) else value <= tree.threshold[node]
        node = tree.left[node] if goes_left else tree.right[node]
    return int(tree.value[node])


@given(trees(), st.lists(NUMBERS | st.just(math.nan), min_size=FEATURES, max_size=FEATURES), st.data())
def test_every_row_comes_to_the_leaf_that_it_came_to(tree: Tree, row: list[float], data: st.DataObject) -> None:
    beside = [math.nextafter(value, way) for value in tree.threshold[~tree.is_leaf] for way in (-math.inf, math.inf)]
    row = [data.draw(st.sampled_from([value, *tree.threshold[~tree.is_leaf].tolist(), *beside])) for value in row]
    assert leaf(mostly_right(tree, FEATURES), [*row, *(-value for value in row)]) == leaf(tree, row)


@given(trees(), st.data())
def test_a_row_in_float32_comes_to_the_same_leaf_where_thresholds_are_float32(tree: Tree, data: st.DataObject) -> None:
    with np.errstate(over="ignore"):
        near = tree.threshold[~tree.is_leaf].astype(np.float32)
        beside = [np.nextafter(near, np.float32(way)) for way in (-math.inf, math.inf)]
    numbers = st.sampled_from(np.concatenate([near, *beside]).tolist()) | st.floats(width=32)
    row = data.draw(st.lists(numbers, min_size=FEATURES, max_size=FEATURES))
    made = mostly_right(rounded_down(tree, np.float32), FEATURES)
    assert made.threshold.dtype == np.float32
    assert leaf(made, [*row, *(-value for value in row)]) == leaf(tree, row)


@given(st.lists(trees(), min_size=1), st.integers(1, 20))
def test_large_sums_are_taken_apart_where_a_tree_ends(several: list[Tree], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shared.packing.ensemble.BRANCHES", most)
        groups = list(in_groups(several))
    assert [tree for group in groups for tree in group] == several
    sizes = [[int((~tree.is_leaf).sum()) for tree in group] for group in groups]
    assert all(sum(size) <= most or len(size) == 1 for size in sizes)
    assert all(sum(size) + beside[0] > most for size, beside in pairwise(sizes)), "as many at once as there is room for"


def compiled(forest: Any, answers: np.ndarray) -> dict[str, Any]:
    """Return the attributes of the one operator into which the trees of a forest were compiled."""
    forest.fit(frame_of(ROWS), answers)
    columns = [Column(name=name, type="double") for name in ROWS]
    output = Output(kind="regression", classes=[], probabilities=False)
    if hasattr(forest, "classes_"):
        output = Output(kind="classification", classes=[str(each) for each in forest.classes_], probabilities=True)
    graph = onnx.load_model_from_string(convert(forest, columns, output)).graph
    (ensemble,) = (node for node in graph.node if node.op_type == "TreeEnsemble")
    return {each.name: onnx.helper.get_attribute_value(each) for each in ensemble.attribute}


def test_a_compiled_forest_is_laid_out_so() -> None:
    features = compiled(RandomForestClassifier(3, random_state=0), RARE)["nodes_featureids"]
    assert {feature // len(ROWS) for feature in features} == {0, 1}, "some compare the features' negatives"


@pytest.mark.parametrize(
    ("forest", "answers", "kind"),
    [
        (RandomForestClassifier(3, random_state=0), RARE, TensorProto.FLOAT),
        (RandomForestClassifier(3, random_state=0, min_samples_leaf=7), RARE, TensorProto.DOUBLE),
        (RandomForestClassifier(3, random_state=0, min_samples_leaf=7), np.arange(100) % 3, TensorProto.FLOAT),
        (RandomForestRegressor(3, random_state=0), np.arange(100) % 5, TensorProto.FLOAT),
        (RandomForestRegressor(3, random_state=0), np.arange(100) % 5 / 7, TensorProto.DOUBLE),
        (RandomForestRegressor(3, random_state=0), np.arange(100) % 5 * 2**22, TensorProto.DOUBLE),
        (RandomForestRegressor(2, random_state=0), np.arange(100) % 2 * 2**23, TensorProto.FLOAT),
    ],
    ids=[
        "pure leaves",
        "shares",
        "numbers of leaves",
        "whole answers",
        "fractions",
        "sums beyond float32",
        "the largest sum",
    ],
)
def test_trees_are_float32_where_it_holds_every_sum(forest: Any, answers: np.ndarray, kind: int) -> None:
    made = compiled(forest, answers)
    assert (made["nodes_splits"].data_type, made["leaf_weights"].data_type) == (kind, kind)


@given(trees())
def test_most_rows_go_right(tree: Tree) -> None:
    made = mostly_right(tree, FEATURES)
    turned = ~tree.is_leaf & (tree.threshold < LARGEST)
    assert (made.rows[made.right] >= made.rows[made.left])[turned].all()
