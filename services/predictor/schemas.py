"""Rows from JSON to columns: checked against the model's inputs, every fault named."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from shared.bundle import Column, Columns, Manifest
from shared.errors import InputError

EXPECTED = {
    "double": "a number",
    "float": "a number",
    "long": "a whole number",
    "integer": "a whole number",
    "boolean": "true or false",
    "string": "a text",
}
Rows = list[dict[str, Any]]
Fault = dict[str, object]


def rows_of(body: Any, max_rows: int) -> tuple[Rows, bool]:
    """Return the rows of a request's body, and whether it was one object alone."""
    if isinstance(body, dict):
        return [body], True
    if not isinstance(body, list) or not body or not all(isinstance(row, dict) for row in body):
        raise _bad(
            "the body is neither an object nor a list of objects", [{"field": "", "expected": "one or more rows"}]
        )
    if len(body) > max_rows:
        expected = f"at most {max_rows} rows in one request"
        raise _bad(f"the body has {len(body)} rows", [{"field": "", "got": len(body), "expected": expected}])
    return body, False


def columns_of(rows: Rows, manifest: Manifest) -> Columns:
    """Return one array of shape (rows,) per input of the model; raise `InputError` naming every fault."""
    names = {column.name for column in manifest.inputs}
    if all(row.keys() <= names for row in rows):
        columns = {column.name: _array(column, rows) for column in manifest.inputs}
        fitting = {name: values for name, values in columns.items() if values is not None}
        if len(fitting) == len(names):
            return fitting
    raise _bad("the rows do not fit the model's inputs", faults_of(rows, manifest))


def _array(column: Column, rows: Rows) -> np.ndarray | None:
    """Return a column, None if a value does not fit."""
    values = [row.get(column.name) for row in rows]
    if all(_fits(column, value) for value in values):
        return column.array(values)
    return None


def _fits(column: Column, value: object) -> bool:
    if value is None:
        return not column.required
    match column.type:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "long" | "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case _:
            return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def faults_of(rows: Rows, manifest: Manifest) -> list[Fault]:
    """Name every field of every row that does not fit, with what was expected."""
    inputs = {column.name: column for column in manifest.inputs}
    found = [fault for index, row in enumerate(rows) for fault in _faults_of_row(row, inputs, index)]
    return found if len(rows) > 1 else [{key: value for key, value in fault.items() if key != "row"} for fault in found]


def _faults_of_row(row: Mapping[str, Any], inputs: Mapping[str, Column], index: int) -> list[Fault]:
    wrong: list[Fault] = [
        {"field": name, "row": index, "got": row.get(name, "nothing"), "expected": EXPECTED[column.type]}
        for name, column in inputs.items()
        if not _fits(column, row.get(name))
    ]
    known = ", ".join(inputs)
    unknown: list[Fault] = [
        {"field": name, "row": index, "got": "an unknown field", "expected": f"only {known}"}
        for name in row
        if name not in inputs
    ]
    return wrong + unknown


def _bad(message: str, faults: list[Fault]) -> InputError:
    return InputError(message, faults)
