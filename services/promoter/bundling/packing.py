"""From an MLflow model's folder to a bundle; runs in the bundling child."""

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.signature import ModelSignature

from services.promoter.bundling.child import Job
from services.promoter.bundling.examples import read_rows
from services.promoter.bundling.inputs import inputs_of
from shared.bundle import MODEL_FILES, Manifest, Output
from shared.errors import BundleError, TrainingError
from shared.packing import GOLDEN_ROWS, Fitted, golden_of, pack, values_of, write_bundle
from shared.runtime.pyfunc import PyfuncRuntime, packed_folder
from shared.runtime.sklearn import load_skops
from shared.verification import verify

SKOPS = "serialization_format='skops'"
OTHERWISE = "BATON_ALLOW_PYFUNC=true would let models be opened that are code"


def bundled(job: Job) -> Manifest:
    """Pack a model, and check the bundle as a predictor will; raise `BundleError` with what to do instead."""
    folder, archive = Path(job.model_dir), Path(job.archive)
    try:
        model = Model.load(folder)
    except (MlflowException, OSError) as error:
        raise BundleError(f"the version's files are no MLflow model: {error}", "download") from error
    rows = read_rows(folder, model, Path(job.golden) if job.golden else None)
    manifest = _packed(job, model, rows)
    with tempfile.TemporaryDirectory(dir=archive.parent) as unpacked:
        verify(archive, Path(unpacked), manifest.digest(), allow_pyfunc=job.allow_code)
    return manifest


def _packed(job: Job, model: Model, rows: pd.DataFrame) -> Manifest:
    folder, archive = Path(job.model_dir), Path(job.archive)
    try:
        return _as_sklearn(_estimator(folder, model, allow_code=job.allow_code), rows, model.signature, archive)
    except BundleError as error:
        if error.check != "load" or "python_function" not in model.flavors:
            raise
        if not job.allow_code:
            raise BundleError(f"{error}; {OTHERWISE}", "load") from error
        return _as_pyfunc(folder, rows, model.signature, archive, why=str(error))


def _as_sklearn(estimator: Any, rows: pd.DataFrame, signature: ModelSignature | None, archive: Path) -> Manifest:
    inputs = inputs_of(signature, estimator, rows)
    rows = rows[[column.name for column in inputs]]
    try:
        return pack(Fitted(estimator, rows.iloc[:GOLDEN_ROWS], rows.iloc[GOLDEN_ROWS:], inputs), archive)
    except TrainingError as error:
        raise BundleError(str(error), "load") from error
    except BundleError:
        raise
    except Exception as error:  # whatever an estimator raises for rows that it cannot take
        raise BundleError(f"it fails on its golden rows: {type(error).__name__}: {error}", "warm_up") from error


def _as_pyfunc(
    folder: Path, rows: pd.DataFrame, signature: ModelSignature | None, archive: Path, *, why: str
) -> Manifest:
    """Pack the whole MLflow model; its own answers are the golden ones."""
    inputs = inputs_of(signature, None, rows)
    golden = rows[[column.name for column in inputs]].iloc[:GOLDEN_ROWS]
    content = packed_folder(folder)
    with tempfile.TemporaryDirectory(dir=archive.parent) as opened:
        path = Path(opened) / "model" / MODEL_FILES["pyfunc"]
        path.parent.mkdir()
        path.write_bytes(content)
        runtime = PyfuncRuntime(path)
        try:
            answer = runtime.predict({column.name: column.array(values_of(golden[column.name])) for column in inputs})
        except Exception as error:  # whatever a model raises for rows that it cannot take
            raise BundleError(f"it fails on its golden rows: {type(error).__name__}: {error}", "warm_up") from error
    is_number = all(isinstance(value, float) for value in answer.values)
    return write_bundle(
        archive,
        content,
        golden_of(golden, answer),
        inputs=inputs,
        output=Output(kind="regression" if is_number else "classification"),
        kind="pyfunc",
        reason=f"MLflow's pyfunc serves: {why}",
    )


def _estimator(folder: Path, model: Model, *, allow_code: bool) -> Any:
    """Load the estimator; a skops file without running code, a pickle only where that is allowed."""
    flavor = model.flavors.get("sklearn")
    if flavor is None:
        flavors = ", ".join(sorted(model.flavors)) or "none"
        raise BundleError(f"none of its flavors ({flavors}) is scikit-learn", "load")
    file = folder / str(flavor.get("pickled_model"))
    if flavor.get("serialization_format") == "skops":
        return load_skops(file)
    if not allow_code:
        raise BundleError(f"{file.name} is a pickle, which is code: log the model with `{SKOPS}`", "load")
    import mlflow.sklearn

    return mlflow.sklearn.load_model(str(folder))
