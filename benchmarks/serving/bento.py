"""A peer: the same pipeline as a BentoML service, run in BentoML's own environment; `BENCH_MODEL` is its file."""

import os
from typing import Any

import bentoml
import joblib
import pandas as pd


@bentoml.service(workers=1, traffic={"timeout": 60})
class Bento:
    """Answers rows with probabilities."""

    def __init__(self) -> None:
        self._pipeline = joblib.load(os.environ["BENCH_MODEL"])

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, rows: list[dict[str, Any]]) -> list[list[float]]:
        """Return one list of probabilities per row."""
        answers: list[list[float]] = self._pipeline.predict_proba(pd.DataFrame(rows)).tolist()
        return answers
