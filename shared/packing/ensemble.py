"""A sum of trees as ONNX operators, one unless it is huge, laid out for walks that find most in the caches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

from shared.packing.graph import ML, Part

EXACT = 2**24  # float32 holds every whole number up to here
BRANCHES = 2**19  # of one operator: with lists of some millions, onnxruntime takes three times as long to load


@dataclass(frozen=True)
class Tree:
    """One tree as arrays of shape (nodes,): where a row's feature is at most the threshold, it goes left.

    `rows` is how many rows of the training came by; `value` is what a leaf adds to the output numbered `target`.
    """

    is_leaf: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    rows: np.ndarray
    value: np.ndarray
    target: int = 0

    @property
    def branches(self) -> int:
        """How many nodes are no leaves."""
        return int((~self.is_leaf).sum())


def ensemble(part: Part, rows: str, trees: Sequence[Tree], targets: int, *, dtype: type[np.floating]) -> str:
    """Add the sum of trees over rows of shape (n, features); return a tensor of shape (n, targets), double.

    `dtype` is that of the rows. Where they are float32 and leaves are whole numbers, the trees are float32, too: their
    branches are smaller, and they are exact.
    """
    computed_in = dtype if _sums_fit_float32(trees) else np.float64
    if computed_in != dtype:
        rows = part.add("Cast", rows, to=TensorProto.DOUBLE)
    features = part.step.n_features_in_
    laid_out = [mostly_right(_with_branch(rounded_down(tree, computed_in)), features) for tree in trees]
    both = part.add("Concat", rows, part.add("Neg", rows), axis=1)
    sums = [
        part.add("TreeEnsemble", both, domain=ML, n_targets=targets, **_attributes(some, computed_in))
        for some in in_groups(laid_out)
    ]
    summed = part.add("Sum", *sums) if len(sums) > 1 else sums[0]
    return summed if computed_in == np.float64 else part.add("Cast", summed, to=TensorProto.DOUBLE)


def in_groups(trees: Sequence[Tree]) -> Iterator[list[Tree]]:
    """Yield trees, in their order, as many at once as have at most `BRANCHES`; a larger one alone."""
    group: list[Tree] = []
    room = BRANCHES
    for tree in trees:
        if group and tree.branches > room:
            yield group
            group, room = [], BRANCHES
        group.append(tree)
        room -= tree.branches
    yield group


def _attributes(trees: Sequence[Tree], dtype: type[np.floating]) -> dict[str, Any]:
    """Return what the operator is told of trees: branches of all, leaves of all, and how they are summed."""
    branches = np.cumsum([0, *(tree.branches for tree in trees)])
    leaves = np.cumsum([0, *(int(tree.is_leaf.sum()) for tree in trees)])
    nodes = [_numbered(*each) for each in zip(trees, branches[:-1], leaves[:-1], strict=True)]
    joined = {name: np.concatenate([node[name] for node in nodes]) for name in nodes[0]}
    return {
        "aggregate_function": 1,  # the sum
        "post_transform": 0,  # none
        "tree_roots": branches[:-1],
        "nodes_modes": numpy_helper.from_array(np.zeros(branches[-1], np.uint8)),  # at most
        "nodes_splits": numpy_helper.from_array(joined.pop("splits")),
        "leaf_weights": numpy_helper.from_array(joined.pop("weights").astype(dtype)),
        "leaf_targetids": joined.pop("targets"),
        **{f"nodes_{name}": values for name, values in joined.items()},
    }


def _sums_fit_float32(trees: Sequence[Tree]) -> bool:
    """Tell whether float32 holds whatever leaves add up to, in any order: whole numbers that are not too large."""
    leaves = [tree.value[tree.is_leaf] for tree in trees]
    if any((each != np.round(each)).any() for each in leaves):
        return False
    largest = np.bincount([tree.target for tree in trees], [np.abs(each).max() for each in leaves])
    return bool(largest.max() <= EXACT)


def rounded_down(tree: Tree, dtype: type[np.floating]) -> Tree:
    """Return a tree whose thresholds are of a type: no number of that type lies between one and what it was."""
    with np.errstate(over="ignore"):
        near = tree.threshold.astype(dtype)
        below = np.nextafter(near, -np.inf)
    return replace(tree, threshold=np.where(near > tree.threshold, below, near))


def _with_branch(tree: Tree) -> Tree:
    """Give a tree that is a single leaf a branch that leads to it either way: ONNX trees begin with a branch."""
    if not tree.is_leaf[0]:
        return tree
    three = np.array([False, True, True])
    nothing = np.zeros(3, tree.threshold.dtype)
    return Tree(three, nothing.astype(int), nothing, np.array([1, 0, 0]), np.array([2, 0, 0]), nothing.astype(bool),
                nothing, np.repeat(tree.value[:1], 3), tree.target)  # fmt: skip


def mostly_right(tree: Tree, features: int) -> Tree:
    """Return a tree over the features and, behind them, their negatives, whose branches send most rows right.

    onnxruntime keeps a branch's right child beside it and has to look for the left one: a long walk that seldom goes
    left finds most of its branches in the caches already. Where `x <= t` is the usual case, `-x < -t` takes its place,
    with the children changed over; a threshold that has no number beyond it stays.
    """
    usual = (
        ~tree.is_leaf
        & (tree.rows[tree.left] > tree.rows[tree.right])
        & (tree.threshold < np.finfo(tree.threshold.dtype).max)
    )
    return replace(
        tree,
        feature=tree.feature + features * usual,
        threshold=np.nextafter(-tree.threshold, -np.inf, out=tree.threshold.copy(), where=usual),
        left=np.where(usual, tree.right, tree.left),
        right=np.where(usual, tree.left, tree.right),
        missing_left=tree.missing_left ^ usual,
    )


def _numbered(tree: Tree, first_branch: int, first_leaf: int) -> dict[str, np.ndarray]:
    """Return a tree's branches and leaves, each numbered on its own, as the operator wants them."""
    branch = ~tree.is_leaf
    number = np.where(branch, np.cumsum(branch) - 1 + first_branch, np.cumsum(tree.is_leaf) - 1 + first_leaf)
    left, right = tree.left[branch], tree.right[branch]
    return {
        "featureids": tree.feature[branch].astype(np.int64),
        "splits": tree.threshold[branch],
        "truenodeids": number[left],
        "falsenodeids": number[right],
        "trueleafs": tree.is_leaf[left].astype(np.int64),
        "falseleafs": tree.is_leaf[right].astype(np.int64),
        "missing_value_tracks_true": tree.missing_left[branch].astype(np.int64),
        "weights": tree.value[tree.is_leaf],
        "targets": np.full(int(tree.is_leaf.sum()), tree.target),
    }
