"""Rows from JSON to columns: checked against the model's inputs, every fault named."""

from typing import Any

import numpy as np

from shared.bundle import Column, Columns, Manifest
from shared.errors import InputError

TAKES: dict[str, set[type]] = {
    "double": {int, float},
    "float": {int, float},
    "long": {int},
    "integer": {int},
    "boolean": {bool},
    "string": {str},
}
EXPECTED = {
    "double": "a number",
    "float": "a number",
    "long": "a whole number",
    "integer": "a whole number",
    "boolean": "true or false",
    "string": "a text",
}
NULLABLE = {"double", "float", "string"}  # NumPy's whole numbers and booleans have no missing value
LARGEST = float(np.finfo(np.float32).max)  # compiled models compute in float32

Rows = list[dict[str, Any]]
Fault = dict[str, object]
MOST_FAULTS, LONGEST_TEXT = 100, 100  # in an answer to a bad request


def rows_of(body: Any, max_rows: int) -> tuple[Rows, bool]:
    """Return the rows of a request's body, and whether it was one object alone."""
    if isinstance(body, dict):
        return [body], True
    if not isinstance(body, list):
        raise _bad("the body is neither an object nor a list of objects", _fault(got=_kind(body)))
    if not body:
        raise _bad("the body is an empty list", _fault(got="no row"))
    if len(body) > max_rows:
        raise _bad(f"the body has {len(body)} rows", _fault(len(body), f"at most {max_rows} rows in one request"))
    wrong = [_fault(_kind(row), "an object", row=index) for index, row in enumerate(body) if not isinstance(row, dict)]
    if wrong:
        raise _bad("the body is not a list of objects", *wrong)
    return body, False


def columns_of(rows: Rows, manifest: Manifest, *, alone: bool = False) -> Columns:
    """Return one array of shape (rows,) per input of the model; raise `InputError` naming every fault.

    Where the request was one object alone, the faults do not number it.
    """
    columns = {column.name: _array(column, [row.get(column.name) for row in rows]) for column in manifest.inputs}
    fitting = {name: values for name, values in columns.items() if values is not None}
    if len(fitting) == len(columns) and all(row.keys() <= columns.keys() for row in rows):
        return fitting
    failed = [column for column in manifest.inputs if column.name not in fitting]
    faults = [fault for index, row in enumerate(rows) for fault in _faults(row, index, failed, list(columns))]
    raise _bad("the rows do not fit the model's inputs", *(_unnumbered(fault) if alone else fault for fault in faults))


def _array(column: Column, values: list[Any]) -> np.ndarray | None:
    """Return values as a column; None if one of them does not fit. A boolean is no number, nor is a text of digits."""
    kinds = set(map(type, values))
    if not column.required and column.type in NULLABLE:
        kinds.discard(type(None))
    if not kinds <= TAKES[column.type]:
        return None
    try:
        with np.errstate(over="ignore"):
            array = column.array(values)
    except OverflowError:
        return None
    if array.dtype.kind == "f" and (np.abs(array) <= LARGEST).sum() != len(values) - values.count(None):
        return None  # infinite, or a NaN that was no null
    return array


def _faults(row: dict[str, Any], index: int, failed: list[Column], known: list[str]) -> list[Fault]:
    """Name what is wrong in one row: fields of the columns that failed, and fields that the model does not have."""
    wrong = [
        _fault(row.get(column.name, "nothing"), _expected(column), row=index, field=column.name)
        for column in failed
        if _array(column, [row.get(column.name)]) is None
    ]
    unknown = [
        _fault(value, f"no such field; the model has {', '.join(known)}", row=index, field=name)
        for name, value in row.items()
        if name not in known
    ]
    return wrong + unknown


def _expected(column: Column) -> str:
    optional = not column.required and column.type in NULLABLE
    return f"{EXPECTED[column.type]}, or null" if optional else EXPECTED[column.type]


def _fault(
    got: object, expected: str = "an object, or a list of objects", *, row: int | None = None, field: str = ""
) -> Fault:
    numbered: Fault = {} if row is None else {"row": row}
    return {"field": field, **numbered, "got": _shown(got), "expected": expected}


def _unnumbered(fault: Fault) -> Fault:
    return {key: value for key, value in fault.items() if key != "row"}


def _kind(value: object) -> str:
    names = {
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        type(None): "null",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "something else")


def _shown(value: object) -> object:
    """Return what is said to have been got: numbers and short texts as they are, anything else by its kind."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return value[:LONGEST_TEXT] if isinstance(value, str) else _kind(value)


def _bad(message: str, *faults: Fault) -> InputError:
    more = len(faults) - MOST_FAULTS
    return InputError(
        message + (f", and {more} more faults are not shown" if more > 0 else ""), list(faults[:MOST_FAULTS])
    )
