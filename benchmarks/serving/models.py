"""The models that every system serves: heart disease by two built-in recipes, in each system's own form."""

import json
from dataclasses import dataclass
from pathlib import Path

import joblib
import mlflow.sklearn
import numpy as np

from benchmarks.serving.dialects import Row
from services.trainer.datasets import Datasets
from services.trainer.recipes import Catalogue
from services.trainer.settings import HEART_DISEASE
from shared.bundle import MODEL_FILES, Manifest, unpack
from shared.packing import Fitted, pack

RECIPES = {"logistic-regression": "logistic-regression", "forest-200": "random-forest"}
MANY_ROWS = 1_000


@dataclass(frozen=True)
class Model:
    """A fitted pipeline on disk: `bundle` for Baton, `onnx` for the limit, `pickle` and `mlflow` for the peers.

    `questions` holds {"rows", "answers"}: rows, and scikit-learn's probabilities of class 1.
    """

    name: str
    folder: Path
    manifest: Manifest

    @property
    def bundle(self) -> Path:
        """Return the bundle's archive."""
        return self.folder / "bundle.tar"

    @property
    def onnx(self) -> Path:
        """Return the bundle's graph."""
        return self.folder / "unpacked" / MODEL_FILES["onnx"]

    @property
    def pickle(self) -> Path:
        """Return the pipeline as joblib dumps it."""
        return self.folder / "model.joblib"

    @property
    def mlflow(self) -> Path:
        """Return the pipeline as MLflow's folder."""
        return self.folder / "mlflow"

    @property
    def questions(self) -> Path:
        """Return what the load generator asks and expects."""
        return self.folder / "questions.json"

    @property
    def question(self) -> Path:
        """Return the same for who gives one answer to everything: the first row, as often as there are rows."""
        return self.folder / "question.json"


def make(name: str, folder: Path) -> Model:
    """Fit a pipeline and write it down in every form."""
    folder.mkdir()
    data = Datasets({"heart-disease": HEART_DISEASE}, []).load("heart-disease", None)
    training = data.training(seed=0)
    estimator = Catalogue().find(RECIPES[name]).fit(training)
    manifest = pack(Fitted(estimator, training.features, data.held_out_features), folder / "bundle.tar")
    model = Model(name, folder, manifest)
    unpack(model.bundle, model.onnx.parent, manifest.digest())
    joblib.dump(estimator, model.pickle)
    mlflow.sklearn.save_model(
        estimator, model.mlflow, serialization_format="cloudpickle", pyfunc_predict_fn="predict_proba"
    )
    known = data.features.dropna()
    chosen = known.iloc[np.random.default_rng(0).integers(0, len(known), MANY_ROWS)]
    rows: list[Row] = [{str(key): value for key, value in row.items()} for row in chosen.to_dict("records")]
    answers = estimator.predict_proba(chosen)[:, 1].tolist()
    model.questions.write_text(json.dumps({"rows": rows, "answers": answers}))
    model.question.write_text(json.dumps({"rows": rows[:1] * MANY_ROWS, "answers": answers[:1] * MANY_ROWS}))
    return model
