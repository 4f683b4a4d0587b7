"""From an MLflow model's folder to a bundle; runs in the bundling child."""

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.signature import ModelSignature

from services.promoter.bundling_child import Job
from services.promoter.examples import read_rows
from services.promoter.inputs import inputs_of
from shared.bundle import Manifest
from shared.errors import BundleError, TrainingError
from shared.packing import GOLDEN_ROWS, Fitted, pack
from shared.runtime.sklearn import load_skops
from shared.verification import verify

ALLOW = "set BATON_ALLOW_PYFUNC=true for the promoter to let it open model files that are code"


def bundled(job: Job) -> Manifest:
    """Pack a model, and check the bundle as a predictor will; raise `BundleError` with what to do instead."""
    folder, archive = Path(job.model_dir), Path(job.archive)
    try:
        model = Model.load(folder)
    except (MlflowException, OSError) as error:
        raise BundleError(f"the version's files are no MLflow model: {error}", "download") from error
    estimator = _estimator(folder, model, allow_code=job.allow_code)
    rows = read_rows(folder, model, Path(job.golden) if job.golden else None)
    manifest = _packed(estimator, rows, model.signature, archive)
    with tempfile.TemporaryDirectory(dir=archive.parent) as unpacked:
        verify(archive, Path(unpacked), manifest.digest())
    return manifest


def _packed(estimator: Any, rows: pd.DataFrame, signature: ModelSignature | None, archive: Path) -> Manifest:
    inputs = inputs_of(signature, estimator, rows)
    rows = rows[[column.name for column in inputs]]
    try:
        return pack(Fitted(estimator, rows.iloc[:GOLDEN_ROWS], rows.iloc[GOLDEN_ROWS:], inputs), archive)
    except TrainingError as error:
        raise BundleError(str(error), "load") from error
    except BundleError:
        raise
    except Exception as error:  # whatever an estimator raises for rows that it cannot take
        raise BundleError(f"the model fails on its golden rows: {type(error).__name__}: {error}", "warm_up") from error


def _estimator(folder: Path, model: Model, *, allow_code: bool) -> Any:
    """Load the estimator; a skops file without running code, a pickle only where that is allowed."""
    flavor = model.flavors.get("sklearn")
    if flavor is None:
        flavors = ", ".join(sorted(model.flavors)) or "none"
        raise BundleError(f"its flavors are {flavors}: {ALLOW}", "load")
    file = folder / str(flavor.get("pickled_model"))
    if flavor.get("serialization_format") == "skops":
        return load_skops(file)
    if not allow_code:
        raise BundleError(
            f"{file.name} is a pickle, which is code: log the model with serialization_format='skops', or {ALLOW}",
            "load",
        )
    import mlflow.sklearn

    return mlflow.sklearn.load_model(str(folder))
