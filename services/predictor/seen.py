"""What training saw of a model's inputs: a value outside of it is answered, and named."""

from collections.abc import Sequence

import numpy as np

from shared.bundle import Block, Column, Columns


class Seen:
    """The ranges of a model's numbers, and its texts where there were few; worked out once per model."""

    def __init__(self, inputs: Sequence[Column]) -> None:
        numbers = [one for one in inputs if one.minimum is not None and one.maximum is not None]
        self._numbers = [one.name for one in numbers]
        self._are_all = len(numbers) == len(inputs)
        self._lowest = np.array([_as_computed(one, one.minimum) for one in numbers])
        self._highest = np.array([_as_computed(one, one.maximum) for one in numbers])
        self._texts = {one.name: {None, *one.categories} for one in inputs if one.categories is not None}

    def outside(self, columns: Columns) -> list[str]:
        """Return the inputs with a value, in whichever row, that training did not see; a missing one is none."""
        found: list[str] = []
        if self._numbers:
            matrix = self._matrix(columns)
            strange: np.ndarray = (matrix < self._lowest) | (matrix > self._highest)
            if np.count_nonzero(strange):  # a fifth of the time that `any` takes
                found = [self._numbers[at] for at in np.flatnonzero(strange.any(axis=0))]
        for name, texts in self._texts.items():
            if not texts.issuperset(columns[name].tolist()):
                found.append(name)
        return found

    def _matrix(self, columns: Columns) -> np.ndarray:
        """Return the numbers as an array of shape (rows, numbers)."""
        if self._are_all and type(columns) is Block:
            return columns.matrix
        parts = [columns[name] for name in self._numbers]
        matrix: np.ndarray = np.empty((len(parts[0]), len(parts)))
        for index, values in enumerate(parts):
            matrix[:, index] = values
        return matrix


def _as_computed(column: Column, bound: float | None) -> float:
    """Return a bound as an input of the column's type has it: single precision rounds."""
    return float(np.float32(bound)) if column.type == "float" and bound is not None else float(bound or 0.0)
