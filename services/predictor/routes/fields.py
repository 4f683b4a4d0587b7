"""A model's inputs as JSON schemas: real fields, types, what training saw of them, and a row that works."""

from collections.abc import Mapping
from typing import Any

from services.predictor.group import is_nullable
from services.predictor.slot import Champion
from shared.bundle import Column

Schema = dict[str, Any]
TYPES: dict[str, Schema] = {
    "double": {"type": "number"},
    "float": {"type": "number"},
    "long": {"type": "integer", "format": "int64"},
    "integer": {"type": "integer", "format": "int32"},
    "boolean": {"type": "boolean"},
    "string": {"type": "string"},
}


def row_schema(champion: Champion) -> Schema:
    """Return the schema of one row."""
    inputs = champion.verified.manifest.inputs
    return {
        "title": f"A row for {champion.model}",
        "type": "object",
        "properties": {column.name: value_schema(column) for column in inputs},
        "required": [column.name for column in inputs if not is_nullable(column)],
        "additionalProperties": False,
        "example": example_of(champion),
    }


def columns_schema(champion: Champion) -> Schema:
    """Return the schema of rows as one list per input."""
    inputs = champion.verified.manifest.inputs
    return {
        "type": "object",
        "properties": {column.name: {"type": "array", "items": value_schema(column)} for column in inputs},
        "required": [column.name for column in inputs if not is_nullable(column)],
        "additionalProperties": False,
    }


def value_schema(column: Column) -> Schema:
    """Return the schema of one value; what training saw is told, and is no limit."""
    schema = dict(TYPES[column.type])
    if is_nullable(column):
        schema["type"] = [schema["type"], "null"]
    if column.minimum is not None and column.maximum is not None:
        schema["description"] = f"{column.minimum:g} to {column.maximum:g} in training"
        schema["x-seen-in-training"] = {"minimum": column.minimum, "maximum": column.maximum}
    if column.categories is not None:
        schema["description"] = f"{', '.join(column.categories)} in training"
        schema["x-seen-in-training"] = {"categories": column.categories}
    return schema


def example_of(champion: Champion) -> Mapping[str, Any]:
    """Return a row that the model takes."""
    return champion.verified.example
