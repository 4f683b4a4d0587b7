"""Runtimes: what turns columns into answers. Heavy libraries are imported only by the runtime that needs them."""

import errno
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from shared.bundle import MODEL_FILES, Columns, Label, Manifest, Output
from shared.errors import BundleError

EXHAUSTED = {errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO}
NO_PYFUNC = (
    "the bundle holds an MLflow model of another flavor, which is code: to serve it, install "
    "requirements/predictor-pyfunc.txt and set BATON_ALLOW_PYFUNC=true, else register a scikit-learn model as skops"
)


class Prediction(NamedTuple):
    """Answers for n rows: `values` has shape (n,), `probabilities` (n, classes) or is None."""

    values: list[Label]
    probabilities: np.ndarray | None = None


class Runtime(Protocol):
    """A loaded model."""

    def predict(self, columns: Columns) -> Prediction:
        """Answer for each row; `columns` holds one array of shape (n,) per input."""


def load(folder: Path, manifest: Manifest, *, allow_pyfunc: bool = False) -> Runtime:
    """Load the model of an unpacked bundle; raise `BundleError` (`load`)."""
    if manifest.runtime == "pyfunc" and not allow_pyfunc:
        raise BundleError(NO_PYFUNC, "load")
    path = folder / MODEL_FILES[manifest.runtime]
    try:
        if manifest.runtime == "onnx":
            from shared.runtime.onnx import OnnxRuntime

            with path.open("rb"):  # what the host is short of is to be raised as it is, which onnxruntime does not do
                return OnnxRuntime(path, manifest.output)
        if manifest.runtime == "pyfunc":
            from shared.runtime.pyfunc import PyfuncRuntime

            return PyfuncRuntime(path)
        from shared.runtime.sklearn import SklearnRuntime

        return SklearnRuntime(path, manifest.output)
    except ImportError as error:
        raise BundleError(f"this predictor has no {error.name}, which the bundle's model needs", "load") from error
    except BundleError:
        raise
    except Exception as error:  # whatever a model file makes a library raise
        if is_hosts(error):
            raise
        said = str(error).replace(str(path), path.name)  # it is told to others, who have other folders
        raise BundleError(f"the model cannot be loaded: {type(error).__name__}: {said}", "load") from error


def is_hosts(error: Exception) -> bool:
    """Tell whether an error is the fault of the host, out of memory or of room on its disk, and no bundle's."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in EXHAUSTED)


def from_probabilities(probabilities: np.ndarray, output: Output) -> Prediction:
    """Return the most probable class of each row; of equals the first, as scikit-learn's `predict` does."""
    classes = output.classes
    return Prediction([classes[index] for index in probabilities.argmax(axis=1).tolist()], probabilities)
