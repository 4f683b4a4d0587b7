"""A sum of trees as one ONNX operator, laid out as its walks go through the processor's caches most quickly."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from onnx import TensorProto, numpy_helper

from shared.packing.graph import ML, Part

EXACT = 2**24  # float32 holds every whole number up to here


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


def ensemble(part: Part, rows: str, trees: Sequence[Tree], targets: int, *, of: type[np.floating]) -> str:
    """Add the sum of trees over rows of shape (n, features); return a tensor of shape (n, targets), double.

    `of` is the type of the rows. Where these are float32 and leaves are whole numbers, branches are float32, too: a
    quarter smaller, and exact.
    """
    features = part.step.n_features_in_
    kind = of if _fits_float32(trees) else np.float64
    if kind != of:
        rows = part.add("Cast", rows, to=TensorProto.DOUBLE)
    trees = [mostly_right(_with_branch(rounded_down(tree, kind)), features) for tree in trees]
    branches = np.cumsum([0, *(int((~tree.is_leaf).sum()) for tree in trees)])
    leaves = np.cumsum([0, *(int(tree.is_leaf.sum()) for tree in trees)])
    nodes = [_numbered(*each) for each in zip(trees, branches[:-1], leaves[:-1], strict=True)]
    joined = {name: np.concatenate([node[name] for node in nodes]) for name in nodes[0]}
    summed = part.add(
        "TreeEnsemble",
        part.add("Concat", rows, part.add("Neg", rows), axis=1),
        domain=ML,
        n_targets=targets,
        aggregate_function=1,  # the sum
        post_transform=0,  # none
        tree_roots=branches[:-1],
        nodes_modes=numpy_helper.from_array(np.zeros(branches[-1], np.uint8)),  # at most
        nodes_splits=numpy_helper.from_array(joined.pop("splits").astype(kind)),
        leaf_weights=numpy_helper.from_array(joined.pop("weights").astype(kind)),
        leaf_targetids=joined.pop("targets"),
        **{f"nodes_{name}": values for name, values in joined.items()},
    )
    return summed if kind is np.float64 else part.add("Cast", summed, to=TensorProto.DOUBLE)


def _fits_float32(trees: Sequence[Tree]) -> bool:
    """Tell whether whatever leaves are summed, float32 holds the sum: they are whole numbers, and not too large."""
    leaves = [tree.value[tree.is_leaf] for tree in trees]
    return (
        all((each == np.round(each)).all() for each in leaves) and sum(np.abs(each).max() for each in leaves) <= EXACT
    )


def rounded_down(tree: Tree, kind: type[np.floating]) -> Tree:
    """Return a tree whose thresholds are of a type: no number of that type lies between one and what it was."""
    with np.errstate(over="ignore"):
        near = tree.threshold.astype(kind)
    return replace(tree, threshold=np.nextafter(near, -np.inf, out=near.copy(), where=near > tree.threshold))


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
