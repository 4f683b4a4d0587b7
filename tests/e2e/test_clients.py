"""Public clients, unchanged: what they get is what scikit-learn says."""

from typing import Any

import numpy as np
import pytest
import requests
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException

from tests.e2e.serving import COMPILED, NATIVE, Serving

pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint:UserWarning")  # of MLflow's own types


@pytest.fixture
def scorer(heart: Serving) -> Any:
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    host, port = heart.address.split(":")
    return ScoringServerClient(host, int(port))


@pytest.fixture
def client(heart: Serving) -> Any:
    with triton.InferenceServerClient(heart.address) as made:
        yield made


def by_name(heart: Serving, *, binary: bool) -> list[Any]:
    inputs = []
    for name in heart.rows:
        tensor = triton.InferInput(name, [len(heart.rows)], "FP64")
        values = heart.rows[name].to_numpy()
        if not binary:  # the client writes JSON that has no NaN: what is missing has to come as bytes
            values = np.nan_to_num(values, nan=1.0)
        inputs.append(tensor.set_data_from_numpy(values, binary_data=binary))
    return inputs


def test_triton_is_told_what_there_is(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(COMPILED)
    assert client.is_model_ready(NATIVE, "1")
    assert not client.is_model_ready(NATIVE, "2")
    assert not client.is_model_ready("nobody")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata(COMPILED)
    assert metadata["versions"] == ["1"]
    assert [tensor["name"] for tensor in metadata["outputs"]] == ["prediction", "probabilities"]
    assert len(metadata["inputs"]) == 13


@pytest.mark.parametrize("version", ["", "1"])
def test_triton_infers_by_name_and_as_bytes(client: Any, heart: Serving, version: str) -> None:
    answer = client.infer(COMPILED, by_name(heart, binary=True), model_version=version, request_id="seven")
    estimator = heart.estimators[COMPILED]
    np.testing.assert_array_equal(answer.as_numpy("prediction"), estimator.predict(heart.rows))
    np.testing.assert_allclose(answer.as_numpy("probabilities"), estimator.predict_proba(heart.rows), atol=1e-5)
    assert answer.get_response()["id"] == "seven"


def test_triton_infers_by_name_and_as_json(client: Any, heart: Serving) -> None:
    wanted = [triton.InferRequestedOutput("probabilities", binary_data=False)]
    answer = client.infer(COMPILED, by_name(heart, binary=False), outputs=wanted)
    expected = heart.estimators[COMPILED].predict_proba(heart.rows.fillna(1.0))
    np.testing.assert_allclose(answer.as_numpy("probabilities"), expected, atol=1e-5)


@pytest.mark.parametrize("model", [COMPILED, NATIVE])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_triton_infers_with_one_matrix(client: Any, heart: Serving, model: str, kind: Any) -> None:
    matrix = heart.rows.to_numpy().astype(kind)
    tensor = triton.InferInput("rows", list(matrix.shape), "FP64" if kind is np.float64 else "FP32")
    answer = client.infer(model, [tensor.set_data_from_numpy(matrix)])
    np.testing.assert_array_equal(answer.as_numpy("prediction"), heart.estimators[model].predict(heart.rows))


def test_triton_is_told_what_is_wrong(client: Any) -> None:
    tensor = triton.InferInput("age", [1], "FP64").set_data_from_numpy(np.array([63.0]))
    with pytest.raises(InferenceServerException, match="sex in row 0 is 'nothing', expected a number"):
        client.infer(COMPILED, [tensor])


def test_mlflows_client_scores_frames_arrays_and_lists(scorer: Any, heart: Serving) -> None:
    scorer.wait_server_ready(timeout=10)
    assert scorer.get_version() == "0.1.0"
    expected = heart.estimators[COMPILED].predict(heart.rows).tolist()
    for data in (heart.rows, heart.rows.to_numpy(), heart.rows.to_numpy().tolist(), heart.rows.iloc[:, ::-1]):
        answer = scorer.invoke(data)
        assert answer.get_predictions()[0].tolist() == expected


def test_mlflows_client_is_told_what_is_wrong(scorer: Any, heart: Serving) -> None:
    with pytest.raises(Exception, match=r"error code 422.*no such field"):
        scorer.invoke(heart.rows.assign(agee=1))


def test_a_frame_as_csv(heart: Serving) -> None:
    for model in (COMPILED, NATIVE):
        url = f"{heart.predictor.url}/models/{model}/invocations"
        table = heart.rows.to_csv(index=False)
        answer = requests.post(url, data=table, headers={"content-type": "text/csv"}, timeout=10)
        assert answer.json()["predictions"] == heart.estimators[model].predict(heart.rows).tolist()
