"""Trees laid out for the processor's caches: the same leaf for every row, and most rows go right."""

import math

import numpy as np
import onnx
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier

from shared.bundle import Column, Columns, Output
from shared.packing.conversion import convert
from shared.packing.ensemble import Tree, mostly_right
from shared.runtime.sklearn import frame_of

FEATURES = 2
LARGEST = float(np.finfo(float).max)
EDGES = (-math.inf, -LARGEST, -1.0, -0.0, 0.0, 5e-324, 1.0, float(np.nextafter(1, 2)), LARGEST, math.inf)
NUMBERS = st.sampled_from(EDGES) | st.floats(allow_nan=False)


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


def test_a_compiled_forest_is_laid_out_so() -> None:
    rows: Columns = {"x": np.arange(100.0), "y": np.arange(100.0) % 7}
    forest = RandomForestClassifier(3, random_state=0).fit(frame_of(rows), np.arange(100) % 9 == 0)
    columns = [Column(name=name, type="double") for name in rows]
    output = Output(kind="classification", classes=["False", "True"], probabilities=True)
    graph = onnx.load_model_from_string(convert(forest, columns, output)).graph
    (ensemble,) = (node for node in graph.node if node.op_type == "TreeEnsemble")
    features = next(list(each.ints) for each in ensemble.attribute if each.name == "nodes_featureids")
    assert {feature // len(rows) for feature in features} == {0, 1}, "some compare the features' negatives"


@given(trees())
def test_most_rows_go_right(tree: Tree) -> None:
    made = mostly_right(tree, FEATURES)
    turned = ~tree.is_leaf & (tree.threshold < LARGEST)
    assert (made.rows[made.right] >= made.rows[made.left])[turned].all()
