"""Steps before the model, as ONNX: imputing, one-hot and ordinal encoding, exactly as scikit-learn does them.

skl2onnx imputes in float32 and text not at all, and takes 1.5 for the category 1. Missing text is `MISSING`.
"""

from typing import Any

import numpy as np
from onnx import TensorProto
from skl2onnx.common.data_types import DoubleTensorType, StringTensorType
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from shared.packing.graph import Part
from shared.runtime.onnx import MISSING, OTHER


def impute(scope: Any, operator: Any, container: Any) -> None:
    """Convert a `SimpleImputer`."""
    imputer: SimpleImputer = operator.raw_operator
    if imputer.add_indicator:
        raise NotImplementedError("SimpleImputer with add_indicator")
    part, is_text = Part(scope, operator, container), _is_text(operator)
    fill = imputer.statistics_.reshape(1, -1)
    rows = part.rows()
    empty = np.array([_is_nan(value) for value in fill[0]])
    if empty.any():  # columns without any value, which the imputer leaves out
        rows, fill = part.add("Gather", rows, np.flatnonzero(~empty), axis=1), fill[:, ~empty]
    gap = imputer.missing_values
    if not is_text and _is_nan(gap):
        gaps = part.add("IsNaN", rows)
    else:
        gaps = part.add("Equal", rows, _constants([gap], is_text=is_text))
    part.give(part.add("Where", gaps, _constants(fill, is_text=is_text), rows))


def encode_one_hot(scope: Any, operator: Any, container: Any) -> None:
    """Convert a `OneHotEncoder`: every column beside its own categories, and compared."""
    encoder: OneHotEncoder = operator.raw_operator
    if encoder._infrequent_enabled:
        raise NotImplementedError("OneHotEncoder with infrequent categories")
    part, is_text = Part(scope, operator, container), _is_text(operator)
    kept = [
        (column, value)
        for column, values in enumerate(encoder.categories_)
        for place, value in enumerate(values)
        if encoder.drop_idx_ is None or place != encoder.drop_idx_[column]
    ]
    repeated = part.add("Gather", part.rows(), np.array([column for column, _ in kept], np.int64), axis=1)
    wanted = np.empty((1, len(kept)), object)
    wanted[0] = [value for _, value in kept]
    part.give(part.add("Cast", _equal(part, repeated, wanted, is_text=is_text), to=TensorProto.DOUBLE))


def encode_ordinal(scope: Any, operator: Any, container: Any) -> None:
    """Convert an `OrdinalEncoder`, column by column."""
    encoder: OrdinalEncoder = operator.raw_operator
    if encoder._infrequent_enabled:
        raise NotImplementedError("OrdinalEncoder with infrequent categories")
    part, is_text = Part(scope, operator, container), _is_text(operator)
    rows = part.rows()
    columns = [_ordinal(part, rows, encoder, place, is_text=is_text) for place in range(len(encoder.categories_))]
    part.give(part.add("Concat", *columns, axis=1))


def _ordinal(part: Part, rows: str, encoder: OrdinalEncoder, place: int, *, is_text: bool) -> str:
    """Return one column's codes; shape (n, 1)."""
    values = encoder.categories_[place].reshape(1, -1)
    codes = [encoder.encoded_missing_value if _is_nan(value) else float(code) for code, value in enumerate(values[0])]
    column = part.add("Gather", rows, np.array([place], np.int64), axis=1)
    known = _equal(part, column, values, is_text=is_text)
    last = np.array([1], np.int64)
    code = part.add("ReduceSum", part.add("Where", known, np.array([codes], np.float64), np.zeros((1, 1))), last)
    is_known = part.add("ReduceMax", part.add("Cast", known, to=TensorProto.DOUBLE), last)
    unknown = np.nan if encoder.unknown_value is None else encoder.unknown_value
    return part.add("Where", part.add("Cast", is_known, to=TensorProto.BOOL), code, np.array([[unknown]], np.float64))


def _equal(part: Part, rows: str, values: np.ndarray, *, is_text: bool) -> str:
    """Compare rows with values of shape (1, k), in which NaN is what is missing."""
    equal = part.add("Equal", rows, _constants(values, is_text=is_text))
    gaps = np.array([[_is_nan(value) for value in values[0]]])
    if is_text or not gaps.any():
        return equal
    return part.add("Or", equal, part.add("And", part.add("IsNaN", rows), gaps))


def columns_out(operator: Any) -> None:
    """Say what a step answers with: texts where an imputer was given texts, else doubles."""
    step, rows = operator.raw_operator, operator.inputs[0].get_first_dimension()
    kind = StringTensorType if _is_text(operator) and isinstance(step, SimpleImputer) else DoubleTensorType
    operator.outputs[0].type = kind([rows, len(step.get_feature_names_out())])


def _is_text(operator: Any) -> bool:
    return isinstance(operator.inputs[0].type, StringTensorType)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and bool(np.isnan(value))


def _constants(values: Any, *, is_text: bool) -> np.ndarray:
    """Return values as the column's type; what is not of that type is no value that could ever come."""
    array = np.asarray(values, object)
    if not is_text:
        return array.astype(np.float64)
    if not {MISSING, OTHER}.isdisjoint(array.ravel()):
        raise NotImplementedError(f"a text that stands for others in the graph: {MISSING!r}")
    known = [MISSING if _is_nan(v) else v for v in array.ravel()]
    if not all(isinstance(value, str) for value in known):
        raise NotImplementedError("text beside other values in one column")
    return np.array(known, object).reshape(array.shape)


CONVERTERS = {SimpleImputer: impute, OneHotEncoder: encode_one_hot, OrdinalEncoder: encode_ordinal}
SHAPES = dict.fromkeys(CONVERTERS, columns_out)
