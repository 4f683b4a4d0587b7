"""What is said of rows that do not fit a model's inputs: every fault, in a form that a program can read."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from services.predictor.group import Group, is_nullable
from shared.bundle import Column
from shared.errors import InputError

EXPECTED = {
    "double": "a number",
    "float": "a number",
    "long": "a whole number",
    "integer": "a whole number",
    "boolean": "true or false",
    "string": "a text",
}
KINDS: dict[type, str] = {
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
    list: "a list",
    dict: "an object",
}
MOST_FAULTS, LONGEST_TEXT = 100, 100  # in an answer to a bad request

Rows = list[dict[str, Any]]
Fault = dict[str, object]


def bad_rows(rows: Rows, columns: Sequence[Column], groups: Mapping[str, Group], *, alone: bool = False) -> InputError:
    """Return the error for rows that do not fit; where there was one object alone, its faults are not numbered."""
    each = [(column, groups[column.name]) for column in columns]
    failed = [(column, group) for column, group in each if group.array([row.get(column.name) for row in rows]) is None]
    known = dict.fromkeys(column.name for column in columns)
    found = chain.from_iterable(_faults(row, None if alone else i, failed, known) for i, row in enumerate(rows))
    return bad("the rows do not fit the model's inputs", *some(found))


def some(found: Iterable[Fault]) -> list[Fault]:
    """Return as many faults as are looked for: one more than are shown."""
    return [*islice(found, MOST_FAULTS + 1)]


def _faults(
    row: dict[str, Any], index: int | None, failed: list[tuple[Column, Group]], known: dict[str, None]
) -> Iterator[Fault]:
    """Name what is wrong in one row: fields of the columns that failed, and fields that the model does not have."""
    for column, group in failed:
        if group.array([row.get(column.name)]) is None:
            yield fault(row.get(column.name, "nothing"), expected_of(column), row=index, field=column.name)
    for name, value in row.items():
        if name not in known:
            yield fault(value, no_such(known), row=index, field=name)


def no_such(known: Iterable[str]) -> str:
    """Say, of a field that the model does not have, which ones it has."""
    return f"no such field; the model has {', '.join(known)}"


def expected_of(column: Column) -> str:
    """Say what an input takes."""
    return EXPECTED[column.type] + (", or null" if is_nullable(column) else "")


def fault(got: object, expected: str, *, row: int | None = None, field: str = "") -> Fault:
    """Return what is said of one fault; `field` and `row` where there are such."""
    return {"field": field, **({} if row is None else {"row": row}), "got": _shown(got), "expected": expected}


def bad(message: str, *faults: Fault) -> InputError:
    """Return the error for a request that does not fit, with as many faults as an answer shows."""
    more = f"; only the first {MOST_FAULTS} faults are shown" if len(faults) > MOST_FAULTS else ""
    return InputError(message + more, list(faults[:MOST_FAULTS]))


def kind_of(value: object) -> str:
    """Say what kind of JSON a value is."""
    return KINDS.get(type(value), "something else")


def _shown(value: object) -> object:
    """Return what is said to have been got: numbers and short texts as they are, anything else by its kind."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return value[:LONGEST_TEXT] if isinstance(value, str) else kind_of(value)
