"""Serve a model that plain MLflow code registers: no import of Baton, an input example, the alias `champion`."""

import os
import time
from pathlib import Path

import httpx
import mlflow
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

MODEL = "from-a-notebook"
DATA = Path(__file__).parents[1] / "shared" / "datasets" / "heart_disease.csv"

table = pd.read_csv(DATA)
rows, disease = table[["age", "trestbps", "chol", "thalach"]].astype(float), table["target"]
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, disease)

mlflow.set_tracking_uri(os.environ.get("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000"))
mlflow.set_experiment(MODEL)
info = mlflow.sklearn.log_model(model, name="model", input_example=rows.head(50), registered_model_name=MODEL)
mlflow.MlflowClient().set_registered_model_alias(MODEL, "champion", str(info.registered_model_version))

# The promoter bundles the version and tells the predictors: some ten seconds, once.
predictor = os.environ.get("BATON_PREDICTOR_URL", "http://127.0.0.1:8000")
patient = {"age": 63, "trestbps": 145, "chol": 233, "thalach": 150}
ends = time.monotonic() + 60
while True:
    answer = httpx.post(f"{predictor}/models/{MODEL}/predict", json=patient, timeout=10)
    if answer.status_code == 200 or time.monotonic() > ends:
        break
    time.sleep(0.5)
answer.raise_for_status()
print(answer.json())
