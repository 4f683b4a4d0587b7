"""A peer: the FastAPI application that people write around a scikit-learn pipeline; `BENCH_MODEL` is its file."""

import os
from typing import Any

import joblib
import pandas as pd
from fastapi import FastAPI


def create_app() -> FastAPI:
    """Return the application, for uvicorn."""
    app, pipeline = FastAPI(), joblib.load(os.environ["BENCH_MODEL"])

    @app.post("/predict")
    def predict(rows: list[dict[str, Any]]) -> list[list[float]]:
        answers: list[list[float]] = pipeline.predict_proba(pd.DataFrame(rows)).tolist()
        return answers

    return app
