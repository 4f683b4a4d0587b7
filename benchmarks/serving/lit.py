"""A peer: the same pipeline behind LitServe, run in LitServe's own environment; `BENCH_MODEL` is its file.

python lit.py PORT
"""

import os
import sys
from typing import Any

import joblib
import litserve
import pandas as pd


class Lit(litserve.LitAPI):  # type: ignore[misc]
    """Answers rows with probabilities."""

    def setup(self, device: str) -> None:
        """Load the pipeline."""
        self._pipeline = joblib.load(os.environ["BENCH_MODEL"])

    def decode_request(self, request: dict[str, Any]) -> pd.DataFrame:
        """Return a request's rows as a table."""
        return pd.DataFrame(request["rows"])

    def predict(self, x: pd.DataFrame) -> list[list[float]]:
        """Return one list of probabilities per row."""
        answers: list[list[float]] = self._pipeline.predict_proba(x).tolist()
        return answers

    def encode_response(self, output: list[list[float]]) -> dict[str, list[list[float]]]:
        """Return an answer's content."""
        return {"probabilities": output}


if __name__ == "__main__":
    server = litserve.LitServer(Lit(), accelerator="cpu", timeout=60)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False)
