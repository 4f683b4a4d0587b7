"""What wrote the archives here, each with the MLflow that it is named after: `python make.py /old/mlruns`.

Two experiments with four runs each, nested, one deleted, and a registered model where that version's FileStore has any.
"""

import sys
from pathlib import Path
from typing import Any

import mlflow
from mlflow.tracking import MlflowClient

ROOT = Path(sys.argv[1])


def main() -> None:
    mlflow.set_tracking_uri(ROOT.as_uri())
    client: Any = MlflowClient()
    for name in ("a", "b"):
        experiment, parent = client.create_experiment(name), ""
        for number in range(3):
            tags = {"mlflow.runName": f"run {number}"} | ({"mlflow.parentRunId": parent} if parent else {})
            run = client.create_run(experiment, tags=tags).info.run_id
            parent = parent or run
            for step in range(3):
                client.log_metric(run, "loss/in", 0.5 / (step + 1), step=step)
            client.log_param(run, "p", str(number))
            client.set_tag(run, "t", "x")
            note = ROOT.parent / "note.txt"
            note.write_text(f"note {name} {number}")
            client.log_artifact(run, str(note), "d")
            client.set_terminated(run, "FINISHED")
        client.delete_run(client.create_run(experiment).info.run_id)
    if mlflow.__version__ >= "2":
        register(client, f"{ROOT.as_uri()}/{experiment}/{parent}/artifacts/d", parent)


def register(client: Any, source: str, run: str) -> None:
    client.create_registered_model("m", tags={"k": "v"}, description="d")
    for stage in ("Production", "Staging"):
        version = client.create_model_version("m", source, run)
        client.transition_model_version_stage("m", version.version, stage)
    if hasattr(client, "set_registered_model_alias"):  # MLflow 2.3
        client.set_registered_model_alias("m", "best", "1")


if __name__ == "__main__":
    main()
