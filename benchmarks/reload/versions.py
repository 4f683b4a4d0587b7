"""The versions that are promoted by turns: two pipelines, each in as many bundles as are asked for."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from shared.bundle import GOLDEN, MODEL_FILES, write
from shared.bundle import unpack as unpacked
from shared.packing import Fitted, pack

FEATURES = [f"x{number}" for number in range(13)]
ROWS = 4096  # a model that was asked the same few again and again would answer them from the processor's caches
PACKED = 64  # of them, as what a trainer holds out
FOREST_ROWS, FOREST_TREES = 20_000, 970  # a bundle of 100 MB


@dataclass(frozen=True)
class Two:
    """Two pipelines; versions with odd numbers answer as the first, with even ones as the second.

    `asked` are rows of numbers in the order of `FEATURES`; `answers` holds, for each pipeline, scikit-learn's
    probability of class 1 for each row.
    """

    name: str
    folder: Path
    asked: list[list[float]]
    answers: list[list[float]]

    def archive(self, number: int) -> tuple[Path, str]:
        """Return the bundle of a version, new to whoever has seen others, and its digest."""
        kept = self.folder / str(number % 2)
        manifest = unpacked(self.folder / f"{number % 2}.tar", kept, self._digest(number % 2))
        files = {name: (kept / name).read_bytes() for name in (GOLDEN, MODEL_FILES[manifest.runtime])}
        own = manifest.model_copy(update={"runtime_reason": f"version {number}"})
        archive = self.folder / "version.tar"
        return archive, write(archive, own, files)

    def pickle(self, number: int) -> Path:
        """Return the pipeline of a version as joblib dumps it."""
        return self.folder / f"{number % 2}.joblib"

    def _digest(self, which: int) -> str:
        return (self.folder / f"{which}.digest").read_text()


def make(name: str, folder: Path) -> Two:
    """Fit two pipelines of a kind and write their bundles."""
    folder.mkdir()
    kinds: dict[str, Any] = {"logistic-regression": _regression, "forest": _forest}
    random = np.random.default_rng(0)
    asked = pd.DataFrame(random.normal(size=(ROWS, len(FEATURES))), columns=FEATURES)
    answers = []
    for which in (0, 1):
        estimator = kinds[name](which)
        manifest = pack(Fitted(estimator, asked[:PACKED], asked[:PACKED]), folder / f"{which}.tar")
        joblib.dump(estimator, folder / f"{which}.joblib")
        (folder / f"{which}.digest").write_text(manifest.digest())
        answers.append(estimator.predict_proba(asked)[:, 1].tolist())
    two = Two(name, folder, asked.to_numpy().tolist(), answers)
    (folder / "questions.json").write_text(json.dumps({"rows": two.asked, "answers": answers, "names": FEATURES}))
    rows = [dict(zip(FEATURES, row, strict=True)) for row in two.asked]
    (folder / "capacity.json").write_text(json.dumps({"rows": rows, "answers": answers[1]}))
    return two


def _regression(which: int) -> Pipeline:
    x, y = _rows(which, 500)
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)


def _forest(which: int) -> Pipeline:
    """Fit a forest on noise: deep trees, some 100 MB as a graph."""
    x, y = _rows(which, FOREST_ROWS)
    noise = np.random.default_rng(which).integers(0, 2, len(y))
    return make_pipeline(StandardScaler(), RandomForestClassifier(FOREST_TREES, random_state=which, n_jobs=-1)).fit(
        x, noise
    )


def _rows(which: int, count: int) -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(which + 1)
    x = pd.DataFrame(random.normal(size=(count, len(FEATURES))), columns=FEATURES)
    return x, (x.iloc[:, which] + random.normal(size=count) > 0).to_numpy().astype(int)
