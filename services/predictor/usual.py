"""Usual rows: complete, of the right types, within what training saw. Nothing else has to be looked at."""

from collections.abc import Mapping, Sequence
from operator import ge, le
from typing import Any

import numpy as np

from services.predictor.group import LARGEST, TAKES
from services.predictor.seen import Seen
from shared.bundle import DTYPES, Block, Column


class Usual:
    """Takes single rows of a model whose inputs are numbers of one type with known ranges.

    Without NumPy's checks, which take several times as long for one row.
    """

    def __init__(self, inputs: Sequence[Column]) -> None:
        (kind,) = {column.type for column in inputs}
        self._names = [column.name for column in inputs]
        self._takes = TAKES[kind]
        self._dtype = np.dtype(DTYPES[kind])
        self._lowest, self._highest = Seen(inputs).ranges()

    def taken(self, row: Mapping[str, Any]) -> Block | None:
        """Return a row as columns; None if there is anything unusual about it."""
        values: list[Any] = list(map(row.get, self._names))
        if len(row) != len(values) or not self._takes.issuperset(map(type, values)):
            return None
        if all(map(le, self._lowest, values)) and all(map(ge, self._highest, values)):
            return Block(self._names, np.array([values], self._dtype), is_usual=True)
        return None


def usual(inputs: Sequence[Column]) -> Usual | None:
    """Return what takes the usual rows of a model, None if they cannot be told so quickly."""
    bounds = [bound for column in inputs for bound in (column.minimum, column.maximum)]
    are_known = all(bound is not None and abs(bound) <= LARGEST for bound in bounds)  # NaN is not
    is_one_type = len({column.type for column in inputs}) == 1
    return Usual(inputs) if are_known and is_one_type else None
