"""A compiled validator: what a model takes, worked out once per model, so that rows that fit cost next to nothing."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from services.predictor.group import Group
from services.predictor.refusals import Rows, bad_rows
from services.predictor.shapes import check_widths, count_of
from services.predictor.usual import usual
from shared.bundle import Block, Column, Columns


class Validator:
    """What one model takes: each method returns an array of shape (rows,) per input, or raises `InputError`."""

    def __init__(self, inputs: Sequence[Column], *, whole_floats: bool = False) -> None:
        self.inputs = inputs
        self.names = [column.name for column in inputs]
        self.known = frozenset(self.names)
        kinds = dict.fromkeys(column.type for column in inputs)
        group = partial(Group, whole_floats=whole_floats)
        self._by_type = [group([column for column in inputs if column.type == kind]) for kind in kinds]
        self._usual = usual(inputs)
        self._each = {column.name: group([column]) for column in inputs}

    @cached_property
    def lenient(self) -> "Validator":
        """Return the validator for forms that write whole numbers as floats: 63.0 is one for it, 1.5 is not."""
        return Validator(self.inputs, whole_floats=True)

    def rows(self, rows: Rows, *, alone: bool = False) -> Columns:
        """Take one object per row; where there was one object alone, its faults are not numbered."""
        if len(rows) == 1 and self._usual and (block := self._usual.taken(rows[0])) is not None:
            return block
        known, groups = self.known, self._by_type
        if all(map(known.issuperset, rows)):
            arrays = [group.array([row.get(name) for row in rows for name in group.names]) for group in groups]
            if (taken := self._taken(arrays)) is not None:
                return taken
        raise bad_rows(rows, self.inputs, self._each, alone=alone)

    def lists(self, lists: Sequence[Any]) -> Columns:
        """Take one list per row, with a value for each input in the model's order."""
        check_widths(lists, self.names)
        if len(self._by_type) == 1:
            array = self._by_type[0].array([value for row in lists for value in row])
            if (taken := self._taken([array])) is not None:
                return taken
        return self.rows([dict(zip(self.names, row, strict=True)) for row in lists])

    def columns(self, columns: Mapping[str, Any]) -> Columns:
        """Take one list per input, all of one length; an optional one may be left out."""
        nothing = [None] * count_of(columns)
        if columns.keys() <= self.known:
            taken = _whole({name: group.array(columns.get(name, nothing)) for name, group in self._each.items()})
            if taken is not None:
                return taken
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        raise bad_rows(rows, self.inputs, self._each)

    def matrix(self, matrix: np.ndarray) -> Columns:
        """Take numbers of shape (rows, inputs) in the model's order; NaN is a missing value."""
        if len(self._by_type) == 1 and matrix.shape[1] == len(self.names):
            taken = self._taken([self._by_type[0].cast(matrix)])
            if taken is not None:
                return taken
        return self.lists(without_nan(matrix))

    def arrays(self, arrays: Mapping[str, np.ndarray]) -> Columns:
        """Take an array of shape (rows,) per input; NaN is a missing value."""
        if arrays.keys() == self.known:
            taken = _whole({name: group.cast(arrays[name].reshape(-1, 1)) for name, group in self._each.items()})
            if taken is not None:
                return taken
        return self.columns({name: without_nan(array) for name, array in arrays.items()})

    def _taken(self, arrays: Iterable[np.ndarray | None]) -> Columns | None:
        """Return the columns of one array per type, in the model's order; None if an array is missing."""
        found: dict[str, np.ndarray] = {}
        for group, array in zip(self._by_type, arrays, strict=True):
            if array is None:
                return None
            if len(self._by_type) == 1:
                return Block(group.names, array)
            found.update(zip(group.names, array.T, strict=True))
        return {name: found[name] for name in self.names}


def _whole(arrays: Mapping[str, np.ndarray | None]) -> Columns | None:
    columns = {name: array.reshape(-1) for name, array in arrays.items() if array is not None}
    return columns if len(columns) == len(arrays) else None


def without_nan(array: np.ndarray) -> list[Any]:
    """Return an array as lists, None where it holds NaN."""
    if array.dtype.kind != "f":
        return list(array.tolist())
    objects = array.astype(object)
    objects[np.isnan(array)] = None
    return list(objects.tolist())
