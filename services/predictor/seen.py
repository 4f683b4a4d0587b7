"""What training saw of a model's inputs: a value outside of it is answered, and named."""

from collections.abc import Sequence
from operator import gt, lt

import numpy as np

from shared.bundle import Block, Column, Columns, count


class Seen:
    """The ranges of a model's numbers, and its texts where there were few; worked out once per model."""

    def __init__(self, inputs: Sequence[Column]) -> None:
        numbers = [one for one in inputs if one.minimum is not None and one.maximum is not None]
        self._numbers = [one.name for one in numbers]
        self._are_all = len(numbers) == len(inputs)
        self._lowest = [_as_computed(one, one.minimum) for one in numbers]
        self._highest = [_as_computed(one, one.maximum) for one in numbers]
        self._texts = {one.name: {None, *one.categories} for one in inputs if one.categories is not None}

    def outside(self, columns: Columns) -> list[str]:
        """Return the inputs with a value, in whichever row, that training did not see; a missing one is none."""
        is_usual = columns.is_usual if type(columns) is Block else False
        if is_usual or (count(columns) == 1 and self._is_within(columns)):
            return []
        found: list[str] = []
        if self._numbers:
            numbers = np.stack([columns[name] for name in self._numbers], axis=1)
            strange: np.ndarray = (numbers < self._lowest) | (numbers > self._highest)
            found = [self._numbers[at] for at in np.flatnonzero(strange.any(axis=0))]
        return found + [name for name, texts in self._texts.items() if not texts.issuperset(columns[name].tolist())]

    def ranges(self) -> tuple[list[float], list[float]]:
        """Return the lowest and the highest value of each number."""
        return self._lowest, self._highest

    def _is_within(self, columns: Columns) -> bool:
        """Tell whether a row is within everything; without NumPy, which takes four times as long for one."""
        if self._are_all and type(columns) is Block:
            row = columns.matrix[0].tolist()
        else:
            row = [columns[name].item() for name in self._numbers]
        if any(map(lt, row, self._lowest)) or any(map(gt, row, self._highest)):
            return False
        return all(columns[name].item() in texts for name, texts in self._texts.items())


def _as_computed(column: Column, bound: float | None) -> float:
    """Return a bound as an input of the column's type has it: single precision rounds."""
    return float(np.float32(bound)) if column.type == "float" and bound is not None else float(bound or 0.0)
