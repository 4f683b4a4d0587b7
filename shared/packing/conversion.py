"""From a fitted pipeline to ONNX, in double: by skl2onnx, with own operators where its differ from scikit-learn."""

import logging
import warnings
from typing import Any

from shared.bundle import Column, Output
from shared.runtime.onnx import NUMBERS, PROBABILITIES, TEXTS, VALUES

OPSET = 21


def convert(estimator: Any, inputs: list[Column], output: Output) -> bytes:
    """Return a pipeline as ONNX; raise whatever a converter raises for what it does not know."""
    from skl2onnx import convert_sklearn

    from shared.packing import encoders, trees
    from shared.packing.graph import join_as_they_are, keep_output, set_versions, stack_inputs

    logging.getLogger("skl2onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = convert_sklearn(
            estimator,
            name="pipeline",  # else a random one
            initial_types=_initial_types(estimator, inputs),
            options={id(estimator): {"zipmap": False}} if output.kind == "classification" else None,
            target_opset=OPSET,
            custom_conversion_functions=encoders.CONVERTERS | trees.CONVERTERS,
            custom_shape_calculators=encoders.SHAPES | trees.SHAPES,
        )
    join_as_they_are(model)
    stack_inputs(model, inputs)
    keep_output(model, model.graph.output[-1].name, PROBABILITIES if output.probabilities else VALUES)
    set_versions(model)
    serialized: bytes = model.SerializeToString()
    return serialized


def _initial_types(estimator: Any, inputs: list[Column]) -> list[tuple[str, Any]]:
    """Return the inputs by column where a step chooses columns by name, else all together: most steps take one."""
    from skl2onnx.common.data_types import DoubleTensorType, StringTensorType
    from sklearn.compose import ColumnTransformer

    is_text = [column.type == "string" for column in inputs]
    is_chosen = any(isinstance(step, ColumnTransformer) for step in (estimator, *estimator.get_params().values()))
    if is_chosen or len(set(is_text)) > 1:
        kinds = [StringTensorType if text else DoubleTensorType for text in is_text]
        return [(column.name, kind([None, 1])) for column, kind in zip(inputs, kinds, strict=True)]
    if is_text[0]:
        return [(TEXTS, StringTensorType([None, len(inputs)]))]
    return [(NUMBERS, DoubleTensorType([None, len(inputs)]))]
