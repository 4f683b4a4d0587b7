"""Ask the champion for a prediction with plain httpx."""

import os

import httpx

patient = {
    "age": 63, "sex": 1, "cp": 3, "trestbps": 145, "chol": 233, "fbs": 1, "restecg": 0,
    "thalach": 150, "exang": 0, "oldpeak": 2.3, "slope": 0, "ca": 0, "thal": 1,
}  # fmt: skip
predictor = os.environ.get("BATON_PREDICTOR_URL", "http://127.0.0.1:8000")
answer = httpx.post(f"{predictor}/models/heart-disease/predict", json=patient, timeout=10)
answer.raise_for_status()
print(answer.json())
