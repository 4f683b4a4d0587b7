"""Logging a training to MLflow: one run with parameters, metrics, plots, the data set, the model, the held-out rows."""

import hashlib
import os
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import mlflow
import mlflow.sklearn
from mlflow.data.pandas_dataset import PandasDataset, from_pandas
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from mlflow.models.model import ModelInfo

from services.trainer import plots
from services.trainer.job import Job, Trained
from shared.errors import TrainingError, UnreachableError
from shared.events import HoldoutRef
from shared.mlflow_errors import is_transient
from shared.runtime.sklearn import ALLOWED_TYPES
from shared.versions import TAG_REQUEST

if TYPE_CHECKING:
    from services.trainer.training import Result

HOLDOUT = "baton/holdout.parquet"
# A restart of MLflow within a minute or so must not cost a training.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "6", "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1"}
REQUIREMENTS = ("scikit-learn", "numpy", "pandas", "skops")


def log(job: Job, result: "Result") -> Trained:
    """Log everything as one run, which ends as FINISHED only when all of it is there.

    Raise `UnreachableError` if MLflow does not answer, `TrainingError` if it refuses.
    """
    os.environ.update(PATIENCE)
    mpl.use("Agg")
    try:
        mlflow.set_tracking_uri(job.tracking_uri)
        mlflow.set_experiment(f"{result.dataset.name}-{result.manifest.output.kind}")
        return _logged(job, result)
    except MlflowException as error:
        if is_transient(error):
            raise UnreachableError(f"MLflow at {job.tracking_uri} does not answer: {error.message}") from error
        raise TrainingError(f"MLflow refused the run: {error.message}") from error


def _logged(job: Job, result: "Result") -> Trained:
    tags = {**job.tags, TAG_REQUEST: job.request_id, "baton.recipe": job.recipe}
    tags["baton.runtime"] = result.manifest.runtime_reason
    with mlflow.start_run(run_name=f"{job.recipe}-{job.request_id[:8]}", tags=tags) as run:
        mlflow.log_params({**result.params, "recipe": job.recipe, "dataset": result.dataset.name, "seed": job.seed})
        mlflow.log_metrics(result.metrics)
        _log_dataset(result)
        for name, figure in plots.draw(result):
            mlflow.log_figure(figure, name)
        holdout = _log_holdout(job.folder, result)
        model = _log_model(result)
    return Trained(
        run_id=run.info.run_id,
        model_id=model.model_id,
        source=model.artifact_path,
        dataset=result.dataset.name,
        archive=result.archive,
        digest=result.manifest.digest(),
        holdout=holdout,
    )


def _log_dataset(result: "Result") -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice about the schema of columns with missing values
        data = from_pandas(result.dataset.table, source=result.dataset.source, targets=result.dataset.target_name,
                           name=result.dataset.name)  # fmt: skip
        _log_input(data)


def _log_input(data: PandasDataset) -> None:
    """Log a data set; another training that named it first at the same moment makes MLflow refuse it once."""
    for last in (False, False, True):
        try:
            mlflow.log_input(data, context="training")
        except MlflowException as error:
            if last or not is_transient(error):
                raise
        else:
            return


def _log_holdout(folder: Path, result: "Result") -> HoldoutRef:
    """Store the held-out rows with the target as their last column."""
    rows = result.dataset.table[result.dataset.held_out]
    path = folder / Path(HOLDOUT).name
    rows.to_parquet(path, index=False)
    mlflow.log_artifact(str(path), str(Path(HOLDOUT).parent))
    digest = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    return HoldoutRef(artifact=HOLDOUT, digest=digest, rows=len(rows))


def _log_model(result: "Result") -> ModelInfo:
    """Log the estimator in MLflow's own form, so that everything that loads MLflow models loads this one."""
    example = result.dataset.held_out_features.head(5)
    signature = infer_signature(result.dataset.features, result.estimator.predict(example))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        info: ModelInfo = mlflow.sklearn.log_model(
            result.estimator,
            name="model",
            signature=signature,
            input_example=example,
            serialization_format="skops",
            skops_trusted_types=sorted(ALLOWED_TYPES),
            # Given, so that MLflow does not start a process that loads the model to find out.
            pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
        )
    return info
