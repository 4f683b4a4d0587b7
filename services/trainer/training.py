"""One training, from a job to a logged run and a verified bundle; runs in a child process."""

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score

from services.trainer import tracking
from services.trainer.datasets import Dataset, Datasets
from services.trainer.job import Job, Progress, Report, Trained
from services.trainer.recipes import Catalogue, Recipe
from shared.bundle import Manifest, Output
from shared.errors import BundleError, TrainingError
from shared.metrics import evaluate
from shared.packing import Fitted, answers_of, output_of, pack
from shared.runtime import Prediction
from shared.verification import verify

FOLDS = 5
STEPS = 6


@dataclass(frozen=True)
class Result:
    """A fitted estimator with everything that is known of it."""

    dataset: Dataset
    params: dict[str, Any]
    estimator: Any
    answers: Prediction
    metrics: dict[str, float]
    manifest: Manifest
    archive: Path


class Steps:
    """Counts the steps of a training aloud."""

    def __init__(self, report: Callable[[Report], None]) -> None:
        self._report = report
        self._step = 0

    def begin(self, message: str) -> None:
        """Say what is done next."""
        self._step += 1
        self._report(Progress(self._step, STEPS, message))


def train(job: Job, report: Callable[[Report], None]) -> Trained:
    """Train a job; `report` hears of each step. Raise `RequestError` or `TrainingError`."""
    steps = Steps(report)
    steps.begin(f"load {job.dataset}")
    recipe = Catalogue(job.recipes_dir).find(job.recipe)
    params = recipe.checked(job.params)
    dataset = Datasets(job.datasets, job.data_roots).load(job.dataset, job.target)
    steps.begin(f"fit {job.recipe} on {_rows(dataset)}")
    estimator = _fit(recipe, dataset, job.seed, params)
    steps.begin(f"evaluate on {dataset.held_out.sum()} held-out rows")
    output = output_of(estimator)
    answers = answers_of(estimator, output, dataset.held_out_features)
    metrics = evaluate(output, dataset.held_out_target.tolist(), answers)
    steps.begin("cross-validate")
    metrics = finite(metrics | cross_validated(estimator, output, dataset, job.seed))
    steps.begin("pack the bundle")
    archive = job.folder / "bundle.tar"
    manifest = _packed(Fitted(estimator, dataset.training(job.seed).features, dataset.held_out_features), archive)
    steps.begin("log to MLflow")
    return tracking.log(job, Result(dataset, params, estimator, answers, metrics, manifest, archive))


def _rows(dataset: Dataset) -> str:
    dropped = f" ({dataset.dropped} rows without {dataset.target_name} left out)" if dataset.dropped else ""
    return f"{(~dataset.held_out).sum()} rows{dropped}"


def _fit(recipe: Recipe, dataset: Dataset, seed: int, params: dict[str, Any]) -> Any:
    estimator = recipe.fit(dataset.training(seed), **params)
    if not hasattr(estimator, "predict"):
        raise TrainingError(
            f"{recipe.name} returned {type(estimator).__name__}: a recipe must return a fitted scikit-learn estimator"
        )
    return estimator


def _packed(fitted: Fitted, archive: Path) -> Manifest:
    """Write the bundle, and check it as a predictor will."""
    manifest = pack(fitted, archive)
    try:
        with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
            verify(archive, Path(folder), manifest.digest())
    except BundleError as error:
        raise TrainingError(f"predictors could not serve the model ({error.check}): {error}", "unsupported") from error
    return manifest


def finite(metrics: dict[str, float]) -> dict[str, float]:
    """Leave out what is not a number: JSON has no such value, and nobody is judged by it."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def cross_validated(estimator: Any, output: Output, dataset: Dataset, seed: int) -> dict[str, float]:
    """Return mean and spread of the task's first metric over folds of the training rows."""
    rows = dataset.training(seed)
    name, scoring = _scoring(output)
    folds = FOLDS
    splitter: Any = KFold(folds, shuffle=True, random_state=seed)
    if output.kind == "classification":
        folds = min(FOLDS, int(rows.target.value_counts().min()))
        if folds < 2:
            return {}  # a class with a single row cannot be on both sides
        splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    scores = cross_val_score(clone(estimator), rows.features, rows.target, cv=splitter, scoring=scoring)
    return {f"cv_{name}_mean": float(np.mean(scores)), f"cv_{name}_std": float(np.std(scores))}


def _scoring(output: Output) -> tuple[str, str]:
    """Return the name of the first metric, and scikit-learn's name for it."""
    if output.kind == "regression":
        return "r2", "r2"
    if not output.probabilities:
        return "accuracy", "accuracy"
    return "roc_auc", "roc_auc" if len(output.classes) == 2 else "roc_auc_ovr"
