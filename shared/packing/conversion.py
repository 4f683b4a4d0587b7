"""From a fitted pipeline to ONNX, in double: by skl2onnx, with own operators where its differ from scikit-learn."""

import logging
import warnings
from typing import Any

from shared.bundle import Column, Output
from shared.runtime.onnx import PROBABILITIES, VALUES

OPSET = 21


def convert(estimator: Any, inputs: list[Column], output: Output) -> bytes:
    """Return a pipeline as ONNX; raise whatever a converter raises for what it does not know."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType, StringTensorType

    from shared.packing import encoders, trees
    from shared.packing.graph import keep_output, set_versions, stack_inputs

    logging.getLogger("skl2onnx").setLevel(logging.ERROR)
    kinds = {True: StringTensorType, False: DoubleTensorType}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = convert_sklearn(
            estimator,
            name="pipeline",  # else a random one
            initial_types=[(column.name, kinds[column.type == "string"]([None, 1])) for column in inputs],
            options={id(estimator): {"zipmap": False}} if output.kind == "classification" else None,
            target_opset=OPSET,
            custom_conversion_functions=encoders.CONVERTERS | trees.CONVERTERS,
            custom_shape_calculators=encoders.SHAPES | trees.SHAPES,
        )
    stack_inputs(model, inputs)
    keep_output(model, model.graph.output[-1].name, PROBABILITIES if output.probabilities else VALUES)
    set_versions(model)
    serialized: bytes = model.SerializeToString()
    return serialized
