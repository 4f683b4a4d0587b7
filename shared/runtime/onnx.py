"""The compiled runtime: a pipeline as an ONNX graph in onnxruntime, one thread, all numbers in one tensor."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnxruntime as ort

from shared.bundle import Block, Columns, Output
from shared.runtime import Prediction, from_probabilities

VALUES, PROBABILITIES = "values", "probabilities"
NUMBERS, TEXTS = "baton_numbers", "baton_texts"
MISSING = "\uffff"  # a missing text: ONNX has none, and Unicode keeps this character free for such uses
OTHER = "\uffff" * 2  # stands for that text where it comes nevertheless: no category is either of them


class OnnxRuntime:
    """An onnxruntime session of a graph, or of a file that holds one, which takes less memory, and no time in Python.

    It takes the numeric columns as one tensor of shape (n, numbers), the texts as another, both in the model's order.
    Graphs of bundles that were packed before take one tensor of shape (n, 1) per column.
    """

    def __init__(self, model: bytes | Path, output: Output) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._inputs = {value.name for value in self._session.get_inputs()}
        self._output = output
        self._names = [PROBABILITIES if output.probabilities else VALUES]

    def predict(self, columns: Columns) -> Prediction:
        """Run the graph once for all rows."""
        if self._inputs <= {NUMBERS, TEXTS}:
            return self.run(_stacked(columns))
        return self.run({name: _tensor(values) for name, values in columns.items()})

    def run(self, feeds: dict[str, np.ndarray]) -> Prediction:
        """Run the graph on tensors by name; a text that is missing is `MISSING`."""
        (answer,) = self._session.run(self._names, feeds)
        if self._output.probabilities:
            return from_probabilities(answer, self._output)
        return Prediction(answer.reshape(-1).tolist())


def _stacked(columns: Columns) -> dict[str, np.ndarray]:
    if type(columns) is Block and columns.matrix.dtype.kind != "O":
        return {NUMBERS: columns.matrix.astype(np.float64, copy=False)}
    numbers = [values for values in columns.values() if values.dtype.kind != "O"]
    texts = [_known(values) for values in columns.values() if values.dtype.kind == "O"]
    feeds = {}
    if numbers:
        feeds[NUMBERS] = _matrix(numbers, np.float64)
    if texts:
        feeds[TEXTS] = _matrix(texts, np.object_)
    return feeds


def _matrix(columns: list[np.ndarray], kind: type) -> np.ndarray:
    """Return columns side by side; for few rows much faster than `np.column_stack`."""
    matrix: np.ndarray = np.empty((len(columns[0]), len(columns)), kind)
    for index, values in enumerate(columns):
        matrix[:, index] = values
    return matrix


def _known(texts: Iterable[str | None]) -> np.ndarray:
    return np.array([MISSING if text is None else OTHER if text == MISSING else text for text in texts], np.object_)


def _tensor(values: np.ndarray) -> np.ndarray:
    kind = np.object_ if values.dtype == np.object_ else np.float32
    return values.astype(kind).reshape(-1, 1)
