"""Inputs of one type, checked together as one array."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from shared.bundle import DTYPES, Column

TAKES: dict[str, set[type]] = {
    "double": {int, float},
    "float": {int, float},
    "long": {int},
    "integer": {int},
    "boolean": {bool},
    "string": {str},
}
NULLABLE = {"double", "float", "string"}  # NumPy's whole numbers and booleans have no missing value
NULL = type(None)
LARGEST = float(np.finfo(np.float32).max)  # most trees of scikit-learn take nothing beyond


def is_nullable(column: Column) -> bool:
    """Return whether an input may be left out or null."""
    return not column.required and column.type in NULLABLE


class Group:
    """Inputs of one type. A boolean is no number, nor is a text of digits.

    With `whole_floats`, lists may hold whole numbers as floats.
    """

    def __init__(self, columns: Sequence[Column], *, whole_floats: bool = False) -> None:
        self.names = [column.name for column in columns]
        kind = columns[0].type
        self._dtype = np.dtype(DTYPES[kind])
        self._widest = np.dtype(np.float64) if self._dtype.kind == "f" else self._dtype  # in which bounds are checked
        self._required = ~np.array([is_nullable(column) for column in columns])
        self._whole_floats = whole_floats and self._dtype.kind == "i"
        self._takes = frozenset(TAKES[kind] | (set() if self._required.all() else {NULL}))

    def array(self, values: list[Any]) -> np.ndarray | None:
        """Return values, row by row, as an array of shape (rows, inputs); None if one of them does not fit."""
        kinds = set(map(type, values))
        if self._whole_floats and float in kinds:
            values = [int(value) if type(value) is float and value.is_integer() else value for value in values]
            kinds = set(map(type, values))
        if not kinds <= self._takes:
            return None
        try:
            array = np.array(values, self._widest).reshape(-1, len(self.names))
        except OverflowError:
            return None
        nulls = values.count(None) if NULL in kinds else 0
        if nulls and (_missing(array) & self._required).any():
            return None
        if self._dtype.kind == "f" and np.count_nonzero(np.abs(array) <= LARGEST) != len(values) - nulls:
            return None  # infinite, or a NaN that was no null
        return array.astype(self._dtype, copy=False)

    def cast(self, array: np.ndarray) -> np.ndarray | None:
        """Return numbers of shape (rows, inputs) as this type, NaN being a missing value; None if one does not fit."""
        is_castable = np.can_cast(array.dtype, self._dtype, "same_kind")
        if not is_castable or self._dtype.kind == "O" or (array.dtype == np.bool_) != (self._dtype == np.bool_):
            return None
        with np.errstate(over="ignore"):
            cast = array.astype(self._dtype, copy=False)
        if self._dtype.kind != "f":
            return cast if (cast == array).all() else None
        missing = np.isnan(cast)
        fits = (np.abs(cast) <= LARGEST) | (missing & ~self._required)
        return cast if fits.all() else None


def _missing(array: np.ndarray) -> Any:
    return np.isnan(array) if array.dtype.kind == "f" else np.equal(array, None)  # type: ignore[call-overload]
