"""What a user puts into `baton-config` counts, and a build argument makes predictors serve what ONNX cannot follow."""

import random
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from tests.containers.conftest import ROOT
from tests.containers.stack import Stack
from tests.servers import wait_for

pytestmark = pytest.mark.timeout(3600)

DATASETS = "churn: {path: /config/data/churn.csv, target: churned}\n"
POLICY = """
defaults: {metric: accuracy}
models:
  strict: {floor: 0.9999}
"""
RECIPE = '''
from sklearn.linear_model import RidgeClassifier

from services.trainer.recipes import TrainingData, recipe


@recipe("ridge")
def ridge(data: TrainingData, *, alpha: float = 1.0):
    """Fit what has no probabilities, and no counterpart in ONNX."""
    return data.pipeline(RidgeClassifier(alpha=alpha), scale=True).fit(data.features, data.target)
'''
OWN_MODEL = """
import mlflow


class Doubled(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input["tenure"] * 2


mlflow.models.set_model(Doubled())
"""


def table(rows: int) -> str:
    """Return customers who mostly leave early, as CSV."""
    chance = random.Random(1)
    lines = ["tenure,plan,churned"]
    for _ in range(rows):
        tenure, plan = chance.randint(1, 60), chance.choice(["small", "large"])
        left = chance.random() < (0.9 if tenure < 30 else 0.1)
        lines.append(f"{tenure},{plan},{'yes' if left else 'no'}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def configured(proxy_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Run a stack with a user's data, recipe and policy, and predictors that have scikit-learn."""
    folder = tmp_path_factory.mktemp("configured")
    settings = {"BATON_PROXY_IMAGE": proxy_image, "BATON_PREDICTOR_REQUIREMENTS": "predictor-sklearn"}
    with Stack.cloned(ROOT, folder / "baton", "configured", settings) as stack:
        config = stack.clone / "baton-config"
        (config / "data").mkdir()
        (config / "recipes").mkdir()
        (config / "datasets.yaml").write_text(DATASETS)
        (config / "promotion.yaml").write_text(POLICY)
        (config / "data" / "churn.csv").write_text(table(400))
        (config / "recipes" / "ridge.py").write_text(RECIPE)
        stack.up()
        yield stack


def test_own_data_and_recipe_by_name(configured: Stack) -> None:
    said = configured.baton("train", "churn", "--recipe", "ridge", "--wait")
    answer = configured.predict("/models/churn/predict", {"tenure": 3, "plan": "small"})
    assert (answer.status_code, answer.json()["version"]) == (200, said["finished"]["version"]), answer.text
    assert answer.json()["prediction"] == "yes"
    assert configured.get("/models/churn")["runtime"] == "sklearn"


def test_own_data_by_path(configured: Stack) -> None:
    options = ("--target", "churned", "--model", "by path", "--wait")
    said = configured.baton("train", "/config/data/churn.csv", *options)
    assert said["decided"]["verdict"] == "promoted"
    refused = configured.run_baton("train", "/etc/passwd", *options)
    assert refused.returncode == 1
    assert "dataset" in refused.stdout


def test_own_policy(configured: Stack) -> None:
    refused = configured.run_baton("train", "churn", "--recipe", "ridge", "--model", "strict", "--wait")
    assert refused.returncode == 3, refused.stderr
    assert "0.9999" in refused.stdout


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_other_flavors_where_they_are_allowed(configured: Stack, tmp_path: Path) -> None:
    configured.up("--build", BATON_PREDICTOR_REQUIREMENTS="predictor-pyfunc", BATON_ALLOW_PYFUNC="true")
    (tmp_path / "own_model.py").write_text(OWN_MODEL)
    mlflow.set_tracking_uri(configured.url("mlflow", 5000))
    mlflow.set_experiment("doubled")
    info = mlflow.pyfunc.log_model(
        name="model",
        python_model=str(tmp_path / "own_model.py"),
        input_example=[{"tenure": 1.0}, {"tenure": 2.0}],
        registered_model_name="doubled",
        pip_requirements=["mlflow"],
    )
    mlflow.MlflowClient().set_registered_model_alias("doubled", "champion", str(info.registered_model_version))
    row = {"tenure": 21.0}
    wait_for(
        "the model to be served", lambda: configured.predict("/models/doubled/predict", row).status_code == 200, 120
    )
    assert configured.predict("/models/doubled/predict", row).json()["prediction"] == 42.0
    assert configured.predict("/models/churn/predict", {"tenure": 3, "plan": "small"}).json()["prediction"] == "yes"
