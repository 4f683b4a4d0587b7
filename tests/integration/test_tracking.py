"""What a training logs to MLflow, beside others that do the same."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import mlflow
import pandas as pd
import pytest
from mlflow.data.pandas_dataset import from_pandas

from services.trainer import tracking

TRAININGS = 4


@pytest.mark.filterwarnings("ignore")  # pandas and MLflow about each other
def test_trainings_that_log_a_new_data_set_at_the_same_moment_do_not_fail_each_other(tracking_uri: str) -> None:
    mlflow.set_tracking_uri(tracking_uri)
    experiment = mlflow.create_experiment(f"at once {uuid.uuid4()}")
    together = threading.Barrier(TRAININGS)

    def train(name: str) -> None:
        data = from_pandas(pd.DataFrame({"x": [1.0]}), name=name)
        with mlflow.start_run(experiment_id=experiment):
            together.wait(30)
            tracking._log_input(data)

    with ThreadPoolExecutor(TRAININGS) as pool:
        for name in ("first", "second"):
            list(pool.map(train, [name] * TRAININGS))
