"""A model's inputs: from its MLflow signature, else from the names that it was fitted on and the rows at hand."""

from typing import Any, Literal, cast

import pandas as pd
from mlflow.models.signature import ModelSignature
from mlflow.types.schema import ColSpec, Schema, TensorSpec

from shared.bundle import DTYPES, Column
from shared.errors import BundleError
from shared.runtime.sklearn import positional

Type = Literal["double", "float", "long", "integer", "boolean", "string"]
ARRAY_TYPES: dict[str, Type] = {
    "float64": "double", "float32": "float", "int64": "long", "int32": "integer", "bool": "boolean",
}  # fmt: skip


def inputs_of(signature: ModelSignature | None, estimator: Any, rows: pd.DataFrame) -> list[Column]:
    """Return one column per input; raise `BundleError` (`schema`) for what predictors cannot take or the rows lack."""
    schema = signature.inputs if signature else None
    columns = _of_schema(schema) if schema else _of_rows(estimator, rows)
    missing = [column.name for column in columns if column.name not in rows]
    if missing:
        raise BundleError(f"the golden rows lack the inputs {', '.join(missing)}", "schema")
    return columns


def _of_schema(schema: Schema) -> list[Column]:
    specs = zip(schema.inputs, _names(schema), strict=True)
    return [
        column
        for spec, name in specs
        for column in (_of_array(spec) if isinstance(spec, TensorSpec) else [_of_column(spec, name)])
    ]


def _names(schema: Schema) -> list[str]:
    return [str(name) for name in schema.input_names()] if schema.has_input_names() else positional(len(schema.inputs))


def _of_column(spec: ColSpec, name: str) -> Column:
    kind = getattr(spec.type, "name", str(spec.type))
    if kind not in DTYPES:
        raise BundleError(f"its input {name} is {kind}: predictors take numbers, booleans and text", "schema")
    return Column(name=name, type=cast("Type", kind), required=bool(spec.required))


def _of_array(spec: TensorSpec) -> list[Column]:
    kind = ARRAY_TYPES.get(str(spec.type))
    if kind is None or len(spec.shape) != 2 or spec.shape[1] < 1:
        raise BundleError(
            f"its input is an array of {spec.type} with shape {spec.shape}: predictors take rows of numbers", "schema"
        )
    return [Column(name=name, type=kind) for name in positional(spec.shape[1])]


def _of_rows(estimator: Any, rows: pd.DataFrame) -> list[Column]:
    names = [str(name) for name in getattr(estimator, "feature_names_in_", rows.columns)]
    known = rows.reindex(columns=names)
    return [
        Column(name=name, type=_type_of(known[name]), required=not bool(known[name].isna().any())) for name in names
    ]


def _type_of(values: "pd.Series[Any]") -> Type:
    if pd.api.types.is_bool_dtype(values):
        return "boolean"
    return "double" if pd.api.types.is_numeric_dtype(values) else "string"
