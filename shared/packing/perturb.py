"""Rows as a caller might send them and no table holds them: what a compiled model is compared with scikit-learn on."""

from collections.abc import Sequence

import numpy as np

from shared.bundle import DTYPES, Column, Columns

SHARE = 0.4  # of a row's values are replaced
BEYOND = np.array([1.0, 1e3, 1e6])  # times the range seen
STRANGE_TEXTS = ("", " ", "unseen", "nan", "None", "0", "näive ✓", "\uffff", "unseen " * 50)
Choices = list[np.ndarray]


def perturbed(columns: Columns, inputs: Sequence[Column], count: int, seed: int = 0) -> Columns:
    """Return `count` rows drawn from columns, some values of each replaced; the same seed gives the same rows.

    Numbers become others of the column, points where trees may split and their neighbours, extremes far beyond the
    range; texts others of the column and unseen ones; both are left out where the column may be.
    """
    random = np.random.default_rng(seed)
    drawn = random.integers(0, len(next(iter(columns.values()))), count)
    return {
        column.name: _replaced(columns[column.name][drawn], choices_for(column, columns[column.name]), random)
        for column in inputs
    }


def _replaced(values: np.ndarray, choices: Choices, random: np.random.Generator) -> np.ndarray:
    """Replace a share of values, each kind of replacement as often as any other."""
    values = values.copy()
    for row in np.flatnonzero(random.random(len(values)) < SHARE):  # nosec B311 # rows to try a model with, no secret
        kind = choices[random.integers(len(choices))]
        values[row] = kind[random.integers(len(kind))]
    return values


def choices_for(column: Column, values: np.ndarray) -> Choices:
    """Return the replacements for a column's values by kind, none of them empty."""
    if column.type == "boolean":
        return [np.array([False, True])]
    choices = _texts(values) if column.type == "string" else _numbers(values, DTYPES[column.type])
    if not column.required and column.type not in ("long", "integer"):
        choices.append(np.array([None], object) if column.type == "string" else np.array([np.nan]))
    return [kind for kind in choices if len(kind)]


def _texts(values: np.ndarray) -> Choices:
    seen = sorted({text for text in values if text is not None})
    near = [change for text in seen for change in (f"{text} ", text.swapcase(), text[:-1])]
    return [np.array(kind, object) for kind in (seen, near, STRANGE_TEXTS)]


def _numbers(values: np.ndarray, kind: type) -> Choices:
    seen = np.unique(values[np.isfinite(values)].astype(np.float64))
    if not len(seen):
        seen = np.array([0.0])
    low, high = seen[0], seen[-1]
    span = max(high - low, 1.0)
    groups = [seen, _split_points(seen), np.concatenate([low - span * BEYOND, high + span * BEYOND, [0.0]])]
    if issubclass(kind, np.integer):
        limits = np.iinfo(kind)
        groups = [np.clip(np.round(group), limits.min / 2, limits.max / 2) for group in [*groups, seen - 1, seen + 1]]
    return [group.astype(kind) for group in groups]


def _split_points(seen: np.ndarray) -> np.ndarray:
    """Return the middles between values, where trees split, and the numbers beside them in double and in float32."""
    middles = (seen[:-1] + seen[1:]) / 2
    short = middles.astype(np.float32)
    beside = [np.nextafter(points, points.dtype.type(way)) for points in (middles, short) for way in (-np.inf, np.inf)]
    return np.concatenate([middles, short, *beside]).astype(np.float64)
