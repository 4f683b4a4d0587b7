"""Held-out rows: a pure function of each row."""

import string
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.holdout import is_held_out

NUMBERS = st.one_of(st.floats(allow_infinity=False), st.integers(-1000, 1000).map(float))
TEXTS = st.one_of(st.none(), st.text(string.printable, max_size=5))
ROWS = st.lists(st.tuples(NUMBERS, TEXTS), min_size=1, max_size=30)


def table(rows: list[tuple[Any, Any]]) -> pd.DataFrame:
    numbers, texts = [row[0] for row in rows], [row[1] for row in rows]
    return pd.DataFrame({"x": pd.Series(numbers, dtype=float), "k": pd.Series(texts, dtype=object)})


@given(ROWS, st.randoms(use_true_random=False))
def test_order_does_not_matter(rows: list[tuple[Any, Any]], random: Any) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    expected = is_held_out(table(rows))
    assert is_held_out(table([rows[i] for i in order])).tolist() == [bool(expected[i]) for i in order]
    assert is_held_out(table(rows)[["k", "x"]]).tolist() == expected.tolist()


@given(ROWS, ROWS)
def test_rows_stay_where_they_are_when_others_are_added(old: list[Any], new: list[Any]) -> None:
    assert is_held_out(table(old + new))[: len(old)].tolist() == is_held_out(table(old)).tolist()


@given(ROWS)
def test_equal_rows_are_on_one_side(rows: list[Any]) -> None:
    both = is_held_out(table(rows + rows))
    assert both[: len(rows)].tolist() == both[len(rows) :].tolist()


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=30))
def test_the_type_of_a_column_does_not_matter(values: list[int]) -> None:
    sides = [
        is_held_out(pd.DataFrame({"x": pd.Series(values, dtype=kind)})).tolist()
        for kind in ("int64", "int16", "float64", "float32", "object")
    ]
    assert all(side == sides[0] for side in sides)


def test_what_is_missing_is_one_value() -> None:
    tables = [pd.DataFrame({"x": pd.Series([value], dtype=object)}) for value in (None, np.nan)]
    assert is_held_out(tables[0]).tolist() == is_held_out(tables[1]).tolist()


def test_negative_zero_is_zero() -> None:
    sides = is_held_out(pd.DataFrame({"x": [0.0, -0.0]}))
    assert sides[0] == sides[1]


def test_about_a_fifth_is_held_out() -> None:
    share = is_held_out(pd.DataFrame({"x": np.arange(10_000.0)})).mean()
    assert 0.18 < share < 0.22
