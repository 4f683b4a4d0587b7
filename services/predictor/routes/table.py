"""Rows as CSV: a header, then one line per row; fields that are read as nothing are missing, as pandas has it."""

import csv
import io
import re
from collections.abc import Sequence
from itertools import islice
from typing import Any

from services.predictor.routes.answers import UnreadableError, unreadable
from services.predictor.routes.protocol import Call
from services.predictor.shapes import check_count
from shared.bundle import Column

MISSING = {"", "NaN", "nan", "NA", "N/A", "n/a", "<NA>", "#N/A", "null", "NULL", "None"}
WHOLE = re.compile(r"([+-]?[0-9]{1,18})(\.0*)?")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
TRUTH = {"true": True, "false": False}


def columns_of_csv(call: Call, inputs: Sequence[Column], max_rows: int) -> dict[str, list[Any]]:
    """Return one list per field of the header; what is no value of its input's type stays a text."""
    text = io.TextIOWrapper(io.BytesIO(call.body), "utf-8-sig", newline="")
    try:
        # With one row more than may be, it is known that there are too many.
        lines = [*islice(filter(None, csv.reader(text, strict=True)), 1 + max_rows + 1)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise unreadable(call, f"the body is not CSV in UTF-8: {error}") from error
    if not lines:
        raise UnreadableError("the body is empty: a header with the names of the fields is expected")
    header, *rows = lines
    check_count(len(rows), max_rows, is_all=False)
    if len({*header}) != len(header):
        raise UnreadableError("the header names a field twice")
    for index, row in enumerate(rows):
        if len(row) != len(header):
            raise UnreadableError(f"row {index} has {len(row)} fields, the header {len(header)}")
    kinds = {column.name: column.type for column in inputs}
    return {name: [_value(row[at], kinds.get(name, "string")) for row in rows] for at, name in enumerate(header)}


def _value(text: str, kind: str) -> Any:
    if text in MISSING:
        return None
    if kind in {"double", "float"} and NUMBER.fullmatch(text):
        return float(text)
    if kind in {"long", "integer"} and (whole := WHOLE.fullmatch(text)):
        return int(whole[1])
    return TRUTH.get(text.lower(), text) if kind == "boolean" else text
