"""The forms that rows come in: objects, lists, columns; what is no such form is refused."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.predictor.refusals import Rows, bad, fault, kind_of, some


def check_count(count: int, max_rows: int, *, is_all: bool = True) -> None:
    """Refuse no rows, and more than are taken in one request; `count` may be of the first rows only."""
    if not count:
        raise bad("the request has no rows", fault("no row", "at least one row"))
    if count > max_rows:
        got = count if is_all else f"more than {max_rows}"
        raise bad(f"the request has {got} rows", fault(got, f"at most {max_rows} rows in one request"))


def objects(rows: list[Any]) -> Rows:
    """Refuse rows that are not objects."""
    wrong = some(fault(kind_of(row), "an object", row=index) for index, row in enumerate(rows) if type(row) is not dict)
    if wrong:
        raise bad("the request is not a list of objects", *wrong)
    return rows


def check_widths(lists: Sequence[Any], names: Sequence[str]) -> None:
    """Refuse rows that are not lists with one value for each input."""
    expected = f"a list of {len(names)} values: {', '.join(names)}"
    wrong = some(
        fault(f"{len(row)} values" if type(row) is list else kind_of(row), expected, row=index)
        for index, row in enumerate(lists)
        if type(row) is not list or len(row) != len(names)
    )
    if wrong:
        raise bad("the rows are not lists of the model's inputs", *wrong)


def count_of(columns: Mapping[str, Any]) -> int:
    """Return how many rows columns have; refuse columns that are no lists, or not of one length."""
    wrong = some(
        fault(kind_of(values), "a list", field=name) for name, values in columns.items() if type(values) is not list
    )
    if wrong:
        raise bad("the columns are not lists", *wrong)
    first = len(next(iter(columns.values()), []))
    uneven = some(
        fault(f"{len(values)} values", f"{first} values, as many as in the first column", field=name)
        for name, values in columns.items()
        if len(values) != first
    )
    if uneven:
        raise bad("the columns differ in length", *uneven)
    return first
