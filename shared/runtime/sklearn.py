"""The scikit-learn runtime: for pipelines that ONNX cannot follow, loaded from skops with types that Baton allows."""

from pathlib import Path

import numpy as np
import pandas as pd
import skops.io

from shared.bundle import Columns, Output
from shared.errors import BundleError
from shared.runtime import Prediction, from_probabilities

# Types outside skops' own trusted set that scikit-learn's estimators hold. The file has no say in this.
ALLOWED_TYPES = frozenset(
    {
        "numpy.dtype",
        "sklearn._loss._loss.CyHalfBinomialLoss",
        "sklearn._loss._loss.CyHalfMultinomialLoss",
        "sklearn._loss._loss.CyHalfSquaredError",
        "sklearn._loss.link.IdentityLink",
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.link.MultinomialLogit",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfMultinomialLoss",
        "sklearn._loss.loss.HalfSquaredError",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        # A forged tree can crash the process; bundles are read only if their digest is the trainer's.
        "sklearn.tree._tree.Tree",
    }
)


class SklearnRuntime:
    """A fitted scikit-learn pipeline that takes a DataFrame."""

    def __init__(self, path: Path, output: Output) -> None:
        unknown = skops.io.get_untrusted_types(file=path)
        refused = sorted(set(unknown) - ALLOWED_TYPES)
        if refused:
            raise BundleError(f"the model holds types that are not allowed: {', '.join(refused)}", "load")
        self._pipeline = skops.io.load(path, trusted=unknown)
        self._output = output

    def predict(self, columns: Columns) -> Prediction:
        """Predict all rows as one DataFrame."""
        frame = pd.DataFrame({name: _series(values) for name, values in columns.items()}, copy=False)
        if self._output.probabilities:
            return from_probabilities(self._pipeline.predict_proba(frame), self._output)
        return Prediction(self._pipeline.predict(frame).tolist())


def _series(values: np.ndarray) -> pd.Series:
    """Return a column as models are fitted on it: text stays an object, and what is missing is NaN."""
    if values.dtype != np.object_:
        return pd.Series(values, copy=False)
    return pd.Series([np.nan if value is None else value for value in values], dtype=object)
