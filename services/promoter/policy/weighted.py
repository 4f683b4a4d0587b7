"""Metrics of many resamples at once: each resample is a row of counts, how often each held-out row was drawn.

Every function takes counts of shape (resamples, rows) and returns an array of shape (resamples,), NaN where a resample
does not define the metric. On counts of one each they give what `shared/metrics.py` gives.
"""

from collections.abc import Callable

import numpy as np

from shared.bundle import Label, Output
from shared.runtime import Prediction

Weighted = Callable[[np.ndarray], np.ndarray]


def weighted(metric: str, output: Output, truth: list[Label], answer: Prediction) -> Weighted | None:
    """Return a metric as a function of counts; None for one that is not known here or does not fit the answers."""
    if output.kind == "regression":
        return _regression(metric, np.asarray(truth, float), np.asarray(answer.values, float))
    position = {label: index for index, label in enumerate(output.classes)}
    expected = np.asarray([position[label] for label in truth])
    given = np.asarray([position[label] for label in answer.values])
    if metric == "accuracy":
        return _mean(given == expected)
    if metric == "f1":
        return _f1(expected, given, len(output.classes))
    return (
        None if answer.probabilities is None else _probabilistic(metric, expected, answer.probabilities.astype(float))
    )


def _probabilistic(metric: str, expected: np.ndarray, probabilities: np.ndarray) -> Weighted | None:
    exact = probabilities / probabilities.sum(axis=1, keepdims=True)
    one_hot, binary = np.eye(exact.shape[1])[expected], exact.shape[1] == 2
    if metric == "log_loss":
        smallest = np.finfo(exact.dtype).eps
        return _mean(-np.log(np.clip(exact[np.arange(len(expected)), expected], smallest, 1 - smallest)))
    if metric == "brier":
        return _mean(((exact - one_hot) ** 2).sum(axis=1) / (2 if binary else 1))
    if metric == "roc_auc":
        aucs = [_roc_auc(expected == label, exact[:, label]) for label in ([1] if binary else range(exact.shape[1]))]
        return lambda counts: np.mean([auc(counts) for auc in aucs], axis=0)
    return None


def _regression(metric: str, truth: np.ndarray, values: np.ndarray) -> Weighted | None:
    squares = (truth - values) ** 2
    if metric == "mae":
        return _mean(np.abs(truth - values))
    if metric == "rmse":
        mean = _mean(squares)
        return lambda counts: np.sqrt(mean(counts))
    return _r2(truth, squares) if metric == "r2" else None


def _mean(values: np.ndarray) -> Weighted:
    numbers = values.astype(float)
    return lambda counts: counts @ numbers / counts.sum(axis=1)


def _r2(truth: np.ndarray, squares: np.ndarray) -> Weighted:
    centred = truth - truth.mean()  # of large targets, the sums of squares would drown in rounding

    def r2(counts: np.ndarray) -> np.ndarray:
        rows = counts.sum(axis=1)
        total = counts @ centred**2 - (counts @ centred) ** 2 / rows
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(total > 0, 1 - counts @ squares / total, np.nan)

    return r2


def _f1(expected: np.ndarray, given: np.ndarray, classes: int) -> Weighted:
    wanted = [1] if classes == 2 else range(classes)

    def one(counts: np.ndarray, label: int) -> np.ndarray:
        is_so, is_said = (expected == label).astype(float), (given == label).astype(float)
        hits, either = counts @ (is_so * is_said), counts @ (is_so + is_said)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(either > 0, 2 * hits / either, 0.0 if classes == 2 else np.nan))

    def f1(counts: np.ndarray) -> np.ndarray:
        # A class that a resample does not hold has no part in its mean.
        scores = np.stack([one(counts, label) for label in wanted])
        present = ~np.isnan(scores)
        return np.asarray(np.where(present, scores, 0.0).sum(axis=0) / np.maximum(present.sum(axis=0), 1))

    return f1


def _roc_auc(positive: np.ndarray, score: np.ndarray) -> Weighted:
    """Count pairs that are in the right order, ties as half (the Mann-Whitney statistic, Hanley & McNeil 1982)."""
    order = np.argsort(score, kind="stable")
    firsts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])

    def roc_auc(counts: np.ndarray) -> np.ndarray:
        drawn = counts[:, order].astype(float)
        positives = np.add.reduceat(drawn * positive[order], firsts, axis=1)
        negatives = np.add.reduceat(drawn * ~positive[order], firsts, axis=1)
        below = np.cumsum(negatives, axis=1) - negatives
        pairs = positives.sum(axis=1) * negatives.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(pairs > 0, (positives * (below + negatives / 2)).sum(axis=1) / pairs, np.nan)

    return roc_auc
