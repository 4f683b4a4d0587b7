"""Writes a FileStore with MLflow's own client: the program that a user ran before, with everything that it can leave.

Arguments: the folder, and how many runs each of the three experiments holds.
"""

import sys
import warnings
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from sklearn.linear_model import LogisticRegression

warnings.simplefilter("ignore")


def main(root: Path, runs: int) -> None:
    mlflow.set_tracking_uri(root.as_uri())
    client = MlflowClient()
    for name in ("alpha", "beta", "gamma"):
        experiment = client.create_experiment(name, tags={"team": name})
        mlflow.set_experiment(experiment_id=experiment)
        parent = first_run(client, name)
        for number in range(1, runs):
            later_run(client, experiment, number, parent)
        deleted = client.create_run(experiment, run_name="deleted")
        client.delete_run(deleted.info.run_id)
    client.delete_experiment(client.create_experiment("trashed"))
    registry(client)


def first_run(client: MlflowClient, name: str) -> str:
    """Log a run with a data set, a nested run and two registered versions of a model."""
    x = np.array([[0.0], [1.0], [2.0], [3.0]])
    with mlflow.start_run(run_name="first") as run:
        mlflow.log_metric("before the model", 0.5, step=1)
        frame = pd.DataFrame({"x": x[:, 0], "y": [0, 0, 1, 1]})
        rows = mlflow.data.from_pandas(frame, name="rows")  # type: ignore[attr-defined]
        mlflow.log_input(rows, "training", tags={"kind": "tiny"})
        with mlflow.start_run(nested=True, run_name="child"):
            mlflow.log_metric("child", 1.0)
        more = {"input_example": x, "pip_requirements": ["scikit-learn"]}  # not asked of pip, which takes seconds
        for labels in ([0, 0, 1, 1], [0, 1, 1, 1]):
            model = LogisticRegression().fit(x, labels)
            mlflow.sklearn.log_model(model, name="model", registered_model_name=f"model {name}", **more)
        mlflow.log_metric("before the model", 0.5, step=1)
    return str(run.info.run_id)


def later_run(client: MlflowClient, experiment: str, number: int, parent: str) -> None:
    run = client.create_run(experiment, run_name=f"run {number}", tags={"mlflow.parentRunId": parent})
    values = [*np.linspace(0, 1, 5), float("nan"), float("inf"), float("-inf")]
    metrics = [Metric("loss/inner", float(value), 1000 + step, step) for step, value in enumerate(values)]
    metrics += [Metric("nothing", float("nan"), 5, 0), Metric("endless", float("inf"), 5, 0)]
    params = [Param("depth", str(number)), Param("text", "ü\ttab\\n \n two lines"), Param("long", "x" * 5000)]
    client.log_batch(run.info.run_id, metrics, params, [RunTag("a/b c", "ß\\N")])
    if number % 10 == 1:
        client.log_text(run.info.run_id, f"note {number}", "notes/of run.txt")
    status = ("FINISHED", "FAILED", "KILLED")[number % 3]
    client.set_terminated(run.info.run_id, status)


def registry(client: MlflowClient) -> None:
    client.transition_model_version_stage("model alpha", "1", "Production")
    client.transition_model_version_stage("model alpha", "2", "Archived")
    client.transition_model_version_stage("model gamma", "1", "Staging")
    client.set_registered_model_alias("model beta", "champion", "2")
    client.set_registered_model_alias("model beta", "previous", "1")
    client.update_registered_model("model beta", "what it is for")
    client.set_registered_model_tag("model beta", "owner", "team b")
    client.update_model_version("model beta", "1", "the first")
    client.set_model_version_tag("model beta", "1", "checked", "yes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
