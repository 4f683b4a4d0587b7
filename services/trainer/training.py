"""One training, from a job to a logged run and a verified bundle; runs in a child process."""

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
from services.trainer.recipes import Catalogue
from shared.bundle import Manifest
from shared.metrics import evaluate
from shared.packing import Fitted, answers_of, output_of, pack
from shared.runtime import Prediction
from shared.verification import verify

FOLDS = 5
STEPS = ("load the data", "fit", "evaluate", "cross-validate", "pack the bundle", "log to MLflow")


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


def train(job: Job, report: Callable[[Report], None]) -> Trained:
    """Train a job; `report` hears of each step."""
    steps = iter(enumerate(STEPS, start=1))

    def step() -> None:
        number, message = next(steps)
        report(Progress(number, len(STEPS), message))

    step()
    recipe = Catalogue(job.recipes_dir).find(job.recipe)
    params = recipe.checked(job.params)
    dataset = Datasets(job.datasets, job.data_roots).load(job.dataset, job.target)
    step()
    estimator = recipe.fit(dataset.training(job.seed), **params)
    step()
    output = output_of(estimator)
    answers = answers_of(estimator, output, dataset.held_out_features)
    metrics = evaluate(output, dataset.held_out_target.tolist(), answers)
    step()
    metrics |= cross_validated(estimator, dataset, job.seed)
    step()
    archive = job.folder / "bundle.tar"
    manifest = pack(Fitted(estimator, dataset.training(job.seed).features, dataset.held_out_features), archive)
    with tempfile.TemporaryDirectory(dir=job.folder) as folder:
        verify(archive, Path(folder), manifest.digest())
    step()
    return tracking.log(job, Result(dataset, params, estimator, answers, metrics, manifest, archive))


def cross_validated(estimator: Any, dataset: Dataset, seed: int) -> dict[str, float]:
    """Return mean and spread of the task's first metric over folds of the training rows."""
    rows = dataset.training(seed)
    name, scoring = _scoring(estimator, dataset)
    if dataset.task == "classification":
        folds = min(FOLDS, int(rows.target.value_counts().min()))
        splitter: Any = StratifiedKFold(folds, shuffle=True, random_state=seed) if folds > 1 else None
    else:
        splitter = KFold(FOLDS, shuffle=True, random_state=seed)
    if splitter is None:
        return {}  # a class with a single row cannot be on both sides
    scores = cross_val_score(clone(estimator), rows.features, rows.target, cv=splitter, scoring=scoring)
    return {f"cv_{name}_mean": float(np.mean(scores)), f"cv_{name}_std": float(np.std(scores))}


def _scoring(estimator: Any, dataset: Dataset) -> tuple[str, str]:
    if dataset.task == "regression":
        return "r2", "r2"
    if not hasattr(estimator, "predict_proba"):
        return "accuracy", "accuracy"
    return "roc_auc", "roc_auc" if dataset.target.nunique() == 2 else "roc_auc_ovr"
