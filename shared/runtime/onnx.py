"""The compiled runtime: a pipeline as an ONNX graph in onnxruntime, one thread, one input per column."""

import numpy as np
import onnxruntime as ort

from shared.bundle import Columns, Output
from shared.runtime import Prediction, from_probabilities

VALUES, PROBABILITIES = "values", "probabilities"


class OnnxRuntime:
    """An onnxruntime session with the bundle's columns as inputs of shape (n, 1)."""

    def __init__(self, model: bytes, output: Output) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._output = output
        self._name = PROBABILITIES if output.probabilities else VALUES

    def predict(self, columns: Columns) -> Prediction:
        """Run the graph once for all rows."""
        feeds = {name: _tensor(values) for name, values in columns.items()}
        (answer,) = self._session.run([self._name], feeds)
        if self._output.probabilities:
            return from_probabilities(answer, self._output)
        return Prediction(answer.reshape(-1).tolist())


def _tensor(values: np.ndarray) -> np.ndarray:
    kind = np.object_ if values.dtype == np.object_ else np.float32
    return values.astype(kind).reshape(-1, 1)
