"""The old champion of a FileStore serves after one command."""

import json
import urllib.parse
from pathlib import Path
from typing import Any

import httpx
import mlflow
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.integration.filestores import make_store
from tests.servers import wait_for
from tests.stack import running_stack


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # MLflow warns of stages
def test_the_old_champion_of_a_filestore_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_store(tmp_path / "mlruns", runs=2)
    with running_stack(["up"], tmp_path / "stack") as stack:
        done = stack.baton("migrate", str(source), "--backup-dir", str(tmp_path), "--json")
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert report["champions"] == {"model alpha": 1, "model beta": 2}
        assert Path(report["backup"]).name.startswith("mlruns-backup-")
        predictor = stack.state.urls["predictor"]

        answer: dict[str, Any] = {}

        def predicts(model: str) -> bool:
            url = f"{predictor}/models/{urllib.parse.quote(model)}/predict"
            asked = httpx.post(url, json=[{"x0": 0.0}, {"x0": 3.0}])
            answer.update(asked.json())
            return asked.status_code == 200

        for model, version, labels in (("model alpha", "1", [0, 0, 1, 1]), ("model beta", "2", [0, 1, 1, 1])):
            wait_for(f"{model} to be served", lambda model=model: predicts(model), 100)  # type: ignore[misc]
            assert answer["version"] == version
            fitted = LogisticRegression().fit(np.array([[0.0], [1.0], [2.0], [3.0]]), labels)
            expected = fitted.predict(np.array([[0.0], [3.0]])).tolist()
            assert [each["prediction"] for each in answer["predictions"]] == expected

        monkeypatch.setenv("MLFLOW_TRACKING_URI", stack.state.urls["mlflow"])
        client = mlflow.MlflowClient(stack.state.urls["mlflow"], stack.state.urls["mlflow"])
        numbers = [str(number) for number in report["experiments"].values()]
        run = client.search_runs(numbers, "attributes.run_name = 'run 1'")[0]
        assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/notes/of run.txt") == "note 1"

        verified = stack.baton("migrate", "verify", str(source), "--json")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert "artifact folder" in json.loads(verified.stdout)["verification"]["kinds"]
