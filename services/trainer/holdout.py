"""Which rows are held out: decided by each row alone, so that no version is ever trained on a row it is judged by.

A fifth of the rows, by a hash of the row's values: the same for every order, seed and version of a growing table. Equal
rows are on the same side.
"""

import hashlib

import numpy as np
import pandas as pd

SHARE = 0.2
SEPARATOR = "\x1f"


def is_held_out(table: pd.DataFrame) -> np.ndarray:
    """Return a boolean array of shape (rows,): True where a row of the cleaned table is held out."""
    names = sorted(table.columns)
    rows = zip(*([_text(value) for value in table[name].tolist()] for name in names), strict=True)
    return np.fromiter((_hash(row) < SHARE for row in rows), dtype=bool, count=len(table))


def _hash(row: tuple[str, ...]) -> float:
    """Return a number in [0, 1) that depends on the row's values only."""
    digest = hashlib.sha256(SEPARATOR.join(row).encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8]) / 2**64


def _text(value: object) -> str:
    """Write a value the same way whatever its type: 1, 1.0 and True are one value, NaN and None are one, -0 is 0."""
    if value is None or value != value:  # noqa: PLR0124 - NaN is what differs from itself
        return ""
    if isinstance(value, bool | int | float):
        return repr(float(value) + 0.0)
    return str(value)
