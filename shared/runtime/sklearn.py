"""The scikit-learn runtime: for pipelines that ONNX cannot follow, loaded from skops with types that Baton allows."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io

from shared.bundle import Columns, Output
from shared.errors import BundleError
from shared.runtime import Prediction, from_probabilities

# What scikit-learn's own estimators hold besides the types that skops trusts. The file has no say in this.
_LOSSES = ("AbsoluteError", "ExponentialLoss", "HalfBinomialLoss", "HalfGammaLoss", "HalfMultinomialLoss",
           "HalfPoissonLoss", "HalfSquaredError", "HalfTweedieLoss", "HalfTweedieLossIdentity", "HuberLoss",
           "PinballLoss")  # fmt: skip
_LINKS = ("HalfLogitLink", "IdentityLink", "Interval", "LogLink", "LogitLink", "MultinomialLogit")
_KERNELS = ("CompoundKernel", "ConstantKernel", "DotProduct", "ExpSineSquared", "Exponentiation", "Matern", "Product",
            "RBF", "RationalQuadratic", "Sum", "WhiteKernel")  # fmt: skip
_DISTANCES = ("Chebyshev", "Euclidean", "Manhattan", "Minkowski")
# A forged tree can crash the process; bundles are read only if their digest is the trainer's.
_TREES = ("sklearn.tree._tree.Tree", "sklearn.neighbors._ball_tree.BallTree", "sklearn.neighbors._kd_tree.KDTree")
ALLOWED_TYPES = frozenset(
    {
        "numpy.dtype",
        *(f"sklearn._loss._loss.Cy{name}" for name in _LOSSES),
        *(f"sklearn._loss.loss.{name}" for name in _LOSSES),
        *(f"sklearn._loss.link.{name}" for name in _LINKS),
        *(f"sklearn.gaussian_process.kernels.{name}" for name in _KERNELS),
        *(f"sklearn.metrics._dist_metrics.{name}Distance64" for name in _DISTANCES),
        *_TREES,
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.utils._bunch.Bunch",
    }
)


class SklearnRuntime:
    """A fitted scikit-learn pipeline that takes a DataFrame."""

    def __init__(self, path: Path, output: Output) -> None:
        self._pipeline = load_skops(path)
        self._output = output

    def predict(self, columns: Columns) -> Prediction:
        """Predict all rows as one DataFrame."""
        rows = taken_by(self._pipeline, frame_of(columns))
        if self._output.probabilities:
            return from_probabilities(self._pipeline.predict_proba(rows), self._output)
        return Prediction(self._pipeline.predict(rows).tolist())


def load_skops(path: Path) -> Any:
    """Load an estimator; raise `BundleError` (`load`) for types that are not allowed."""
    unknown = skops.io.get_untrusted_types(file=path)
    refused = sorted(set(unknown) - ALLOWED_TYPES)
    if refused:
        raise BundleError(f"the model holds types that are not allowed: {', '.join(refused)}", "load")
    return skops.io.load(path, trusted=unknown)


def positional(count: int) -> list[str]:
    """Return the names of columns that have none, as scikit-learn writes them."""
    return [f"x{index}" for index in range(count)]


def taken_by(estimator: Any, frame: pd.DataFrame) -> Any:
    """Return rows as the estimator takes them: one that was fitted on an array knows no names."""
    is_named = hasattr(estimator, "feature_names_in_") or list(frame.columns) != positional(frame.shape[1])
    return frame if is_named else frame.to_numpy()


def frame_of(columns: Columns) -> pd.DataFrame:
    """Return columns as a table."""
    return pd.DataFrame({name: _series(values) for name, values in columns.items()}, copy=False)


def _series(values: np.ndarray) -> pd.Series:
    """Return a column as models are fitted on it: text stays an object, and what is missing is NaN."""
    if values.dtype != np.object_:
        return pd.Series(values, copy=False)
    return pd.Series([np.nan if value is None else value for value in values], dtype=object)
