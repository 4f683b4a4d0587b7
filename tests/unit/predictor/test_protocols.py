"""Every protocol over the same models: the same answers, in each one's own form and words."""

import gzip
import struct
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from shared.event import subject_token
from tests import bundles
from tests.unit.predictor.api import Predictor

ROWS = [{"x": 1.5, "y": 2}, {"x": -3, "y": None}, {"x": 0.25}]
X, Y = [1.5, -3.0, 0.25], [2.0, None, None]


def tensor(name: str, data: list[Any], shape: list[int] | None = None, datatype: str = "FP64") -> dict[str, Any]:
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data}


MATRIX = [value for row in zip(X, Y, strict=True) for value in row]
INFERENCES = [
    [tensor("x", X), tensor("y", Y)],
    [tensor("x", X, [3, 1]), tensor("y", Y, [3, 1])],
    [tensor("x", X, datatype="FP32")],
    [tensor("x", X), tensor("y", [2, None, None], datatype="INT8")],
    [tensor("anything", MATRIX, [3, 2])],
    [tensor("x", [[1.5, 2.0], [-3.0, None], [0.25, None]], [3, 2])],
]
SCORINGS: list[Any] = [
    {"dataframe_records": ROWS},
    {"dataframe_split": {"columns": ["y", "x"], "index": [0, 1, 2], "data": [[2, 1.5], [None, -3], [None, 0.25]]}},
    {"dataframe_split": {"columns": ["x"], "data": [[1.5], [-3], [0.25]]}},
    {"dataframe_split": {"data": [[1.5, 2], [-3, None], [0.25, None]]}, "params": {}},
    {"instances": ROWS},
    {"instances": [[1.5, 2], [-3, None], [0.25, None]]},
    {"inputs": {"x": X, "y": Y}},
    {"inputs": [[1.5, 2], [-3, None], [0.25, None]]},
]


async def own(predictor: Predictor) -> list[dict[str, Any]]:
    """Ask in Baton's own words."""
    answer = await predictor.client.post("/models/m/predict", json=ROWS)
    rows: list[dict[str, Any]] = answer.json()["predictions"]
    return rows


@pytest.fixture(params=["classifier", "regressor"])
def model(request: pytest.FixtureRequest, predictor: Predictor, tmp_path: Path) -> Predictor:
    made = bundles.classifier(tmp_path, 0.7) if request.param == "classifier" else bundles.regressor(tmp_path, 12.5)
    predictor.serve("m", made, "7")
    return predictor


@pytest.mark.parametrize("inputs", INFERENCES)
async def test_open_inference_answers_the_same(model: Predictor, inputs: list[Any]) -> None:
    expected = await own(model)
    for path in ("/v2/models/m/infer", "/v2/models/m/versions/7/infer"):
        answer = (await model.client.post(path, json={"id": "a", "inputs": inputs})).json()
        assert (answer["model_name"], answer["model_version"], answer["id"]) == ("m", "7", "a")
        outputs = {output["name"]: output for output in answer["outputs"]}
        assert outputs["prediction"]["data"] == [row["prediction"] for row in expected]
        assert outputs["prediction"]["shape"] == [3]
        if "probabilities" in expected[0]:
            flat = [chance for row in expected for chance in row["probabilities"].values()]
            assert outputs["probabilities"]["data"] == flat
            assert outputs["probabilities"]["shape"] == [3, 2]


@pytest.mark.parametrize("body", SCORINGS)
async def test_mlflow_scoring_answers_the_same(model: Predictor, body: Any) -> None:
    expected = {"predictions": [row["prediction"] for row in await own(model)]}
    for path in ("/invocations", "/models/m/invocations"):
        answer = await model.client.post(path, json=body)
        assert answer.json() == expected
        assert answer.headers["baton-version"] == "7"


@pytest.mark.parametrize(
    "table", ["x,y\n1.5,2\n-3,\n0.25,NaN\n", "y,x\r\n2,1.5\r\nNA,-3\r\n,0.25", '\ufeff"x"\n"1.5"\n-3e0\n\n.25\n']
)
@pytest.mark.parametrize("kind", ["text/csv", 'Text/CSV; header=present; Charset="UTF-8"'])
async def test_csv_answers_the_same(model: Predictor, table: str, kind: str) -> None:
    expected = [row["prediction"] for row in await own(model)]
    headers = {"content-type": kind}
    answer = await model.client.post("/invocations", content=table.encode(), headers=headers)
    assert answer.json() == {"predictions": expected}


async def test_a_bare_nan_is_missing_in_scoring_and_nowhere_else(model: Predictor) -> None:
    body = b'{"dataframe_split": {"columns": ["x", "y"], "data": [[1, NaN]]}}'
    assert (await model.client.post("/invocations", content=body)).status_code == 200
    body = b'{"inputs": {"x": [NaN], "y": ["NaN"]}}'
    answer = await model.client.post("/invocations", content=body)
    assert answer.status_code == 422
    assert "x in row 0 is None, expected a number; y in row 0 is 'NaN'" in answer.json()["message"]
    assert (await model.client.post("/invocations", content=b'{"inputs": {"x": [-Infinity]}}')).status_code == 400
    assert (await model.client.post("/predict", content=b'{"x": NaN}')).status_code == 400


async def test_whole_floats_are_whole_numbers_where_a_form_makes_them_so(predictor: Predictor, tmp_path: Path) -> None:
    inputs = [{"name": "y", "type": "long"}, {"name": "x", "type": "double"}]
    predictor.serve("m", bundles.classifier(tmp_path, 0.7, inputs=inputs))

    async def asked(path: str, **sent: Any) -> tuple[int, str]:
        answer = await predictor.client.post(path, **sent)
        return answer.status_code, answer.text

    for count, status in ((3.0, 200), (3.5, 422)):
        split = {"dataframe_split": {"columns": ["y", "x"], "data": [[count, 1.5]]}}
        bodies: list[tuple[str, dict[str, Any]]] = [
            ("/invocations", {"json": split}),
            ("/invocations", {"content": f"y,x\n{count},1.5\n", "headers": {"content-type": "text/csv"}}),
            ("/v2/models/m/infer", {"json": {"inputs": [tensor("all", [count, 1.5], [1, 2])]}}),
        ]
        content, headers = binary([("all", [1, 2], "FP64", struct.pack("<2d", count, 1.5))])
        bodies.append(("/v2/models/m/infer", {"content": content, "headers": headers}))
        for path, sent in bodies:
            answered, text = await asked(path, **sent)
            assert answered == status, text
            assert status == 200 or "y in row 0 is" in text
    named = {"inputs": [tensor("y", [3.0]), tensor("x", [1.5])]}
    assert (await asked("/v2/models/m/infer", json=named))[0] == 422, "its datatype says that it is none"
    assert (await asked("/predict", json={"y": 3.0, "x": 1.5}))[0] == 422


def binary(inputs: list[tuple[str, list[int], str, bytes]], **more: Any) -> tuple[bytes, dict[str, str]]:
    """Return a request whose tensors are bytes behind its JSON, and the header that says where they begin."""
    head = orjson.dumps(
        {
            "inputs": [
                {"name": name, "shape": shape, "datatype": kind, "parameters": {"binary_data_size": len(data)}}
                for name, shape, kind, data in inputs
            ],
            **more,
        }
    )
    data = b"".join(data for *_, data in inputs)
    return head + data, {"Inference-Header-Content-Length": str(len(head))}


DOUBLES, FLOATS = struct.pack("<3d", *X), struct.pack("<3f", 2, float("nan"), float("nan"))
BINARIES = [
    [("x", [3], "FP64", DOUBLES), ("y", [3, 1], "FP32", FLOATS)],
    [("x", [3], "FP64", DOUBLES)],
    [("all", [3, 2], "FP32", struct.pack("<6f", 1.5, 2, -3, float("nan"), 0.25, float("nan")))],
]


@pytest.mark.parametrize("inputs", BINARIES)
async def test_tensors_as_bytes_both_ways(model: Predictor, inputs: list[Any]) -> None:
    expected = await own(model)
    content, headers = binary(inputs, parameters={"binary_data_output": True})
    answer = await model.client.post("/v2/models/m/infer", content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    split = int(answer.headers["Inference-Header-Content-Length"])
    outputs = orjson.loads(answer.content[:split])["outputs"]
    at = split
    for output in outputs:
        end = at + output["parameters"]["binary_data_size"]
        values = np.frombuffer(answer.content[at:end], {"INT64": np.int64, "FP64": np.float64}[output["datatype"]])
        if output["name"] == "prediction":
            assert values.tolist() == [row["prediction"] for row in expected]
        else:
            assert values.tolist() == [chance for row in expected for chance in row["probabilities"].values()]
        at = end
    assert at == len(answer.content)


async def test_outputs_that_are_asked_for(predictor: Predictor, tmp_path: Path) -> None:
    predictor.serve("m", bundles.classifier(tmp_path, 0.7, output={
        "kind": "classification", "classes": ["no", "yes"], "probabilities": True,
    }))  # fmt: skip
    wanted = [{"name": "prediction", "parameters": {"binary_data": True}}, {"name": "probabilities"}]
    asked = {"inputs": [tensor("x", [1])], "outputs": wanted}
    answer = await predictor.client.post("/v2/models/m/infer", json=asked)
    head = orjson.loads(answer.content[: int(answer.headers["Inference-Header-Content-Length"])])
    assert head["outputs"][0]["datatype"] == "BYTES"
    assert answer.content.endswith(struct.pack("<I", 3) + b"yes")
    assert head["outputs"][1]["data"] == pytest.approx([0.3, 0.7])
    only = await predictor.client.post("/v2/models/m/infer", json=asked | {"outputs": [{"name": "probabilities"}]})
    assert [output["name"] for output in only.json()["outputs"]] == ["probabilities"]


async def test_boolean_classes_are_named_as_json_does(predictor: Predictor, tmp_path: Path) -> None:
    output: dict[str, Any] = {"kind": "classification", "classes": [False, True], "probabilities": True}
    predictor.serve("m", bundles.classifier(tmp_path, 0.75, output=output))
    own = (await predictor.client.post("/predict", json={"x": 1})).json()
    assert own["prediction"] is True
    assert own["probabilities"] == {"false": pytest.approx(0.25), "true": pytest.approx(0.75)}
    assert (await predictor.client.post("/invocations", json={"inputs": {"x": [1]}})).json() == {"predictions": [True]}
    answer = (await predictor.client.post("/v2/models/m/infer", json={"inputs": [tensor("x", [1])]})).json()
    assert (answer["outputs"][0]["datatype"], answer["outputs"][0]["data"]) == ("BOOL", [True])
    predictor.serve("m", bundles.classifier(tmp_path, 0.75, output=output | {"classes": ["no", True]}), "2")
    answer = (await predictor.client.post("/v2/models/m/infer", json={"inputs": [tensor("x", [1])]})).json()
    assert (answer["outputs"][0]["datatype"], answer["outputs"][0]["data"]) == ("BYTES", ["true"])


def faulty(**changed: Any) -> dict[str, Any]:
    return {"inputs": [tensor("x", [1.0]) | changed]}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "not JSON"),
        ([], 400, "a list of inputs"),
        ({"inputs": []}, 400, "a list of inputs"),
        ({"inputs": [1]}, 400, "a tensor is an object"),
        (faulty(shape=[-1]), 400, "shape"),
        (faulty(shape=[]), 400, "shape"),
        (faulty(shape=[2]), 400, "1 values instead of 2"),
        (faulty(datatype="BF16"), 400, "datatype is not one of BOOL"),
        (faulty(datatype="INT64", data=[1.5]), 400, "no INT64"),
        (faulty(datatype="INT8", data=[1000]), 400, "x: 1000 is no INT8, a whole number from -128 to 127"),
        (faulty(datatype="UINT8", data=[-5]), 400, "x: -5 is no UINT8, a whole number from 0 to 255"),
        (faulty(datatype="INT64", data=[2**63]), 400, "is no INT64"),
        (faulty(datatype="UINT8", data=[None]), 422, "x in row 0 is None"),
        (faulty(data=1), 400, "neither data as a list nor"),
        (faulty(data=[[1.0], 2.0]), 400, "2 values instead of 1"),
        (faulty(parameters={"binary_data_size": 8}), 400, "8 bytes are announced, 0 are there"),
        ({"inputs": [tensor("x", [1]), tensor("x", [1])]}, 400, "the same name"),
        (faulty(datatype="BYTES", data=["1"]), 422, "x in row 0 is '1', expected a number"),
        (faulty(data=[None]), 422, "x in row 0 is None, expected a number"),
        (faulty(name="z"), 422, "shape [rows, 2] of x, y"),
        (faulty(shape=[0], data=[]), 422, "no rows"),
        (faulty(shape=[1000], data=[1] * 1000), 422, "at most 65 rows"),
        ({"inputs": [tensor("x", [1]), tensor("z", [1])]}, 422, "no such field; the model has x, y"),
        ({"inputs": [tensor("x", [1]), tensor("y", [1, 2])]}, 422, "differ in shape"),
        (faulty() | {"outputs": [{"name": "z"}]}, 422, "one of prediction, probabilities"),
        (faulty() | {"outputs": [{"name": "prediction", "parameters": {"classification": 2}}]}, 422, "not ranked"),
        (faulty() | {"outputs": 1}, 422, "a list of objects"),
    ],
)
async def test_inferences_that_cannot_be_answered(
    predictor: Predictor, tmp_path: Path, body: Any, status: int, said: str
) -> None:
    predictor.serve("m", bundles.classifier(tmp_path, 0.25))
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    answer = await predictor.client.post("/v2/models/m/infer", content=content)
    assert answer.json().keys() == {"error"}
    assert said in answer.json()["error"]
    assert answer.status_code == status


@pytest.mark.parametrize("length", ["x", "-1", "99999"])
async def test_a_header_length_that_cannot_be(predictor: Predictor, tmp_path: Path, length: str) -> None:
    predictor.serve("m", bundles.classifier(tmp_path, 0.25))
    headers = [(b"inference-header-content-length", length.encode())]
    answer = await predictor.client.post("/v2/models/m/infer", json=faulty(), headers=headers)
    assert (answer.status_code, answer.json()["error"][:31]) == (400, "Inference-Header-Content-Length")


@pytest.mark.parametrize(
    ("content", "kind", "status", "said"),
    [
        (b"[1]", "application/json", 422, "dataframe_split, dataframe_records"),
        (b'{"inputs": {"x": [1]}, "instances": []}', "application/json", 422, "with one of"),
        (b'{"inputs": {"x": [1]}, "params": {"a": 1}}', "application/json", 422, "params is 'an object'"),
        (b'{"instances": 1}', "application/json", 422, "instances is 'a number', expected a list"),
        (b'{"instances": []}', "application/json", 422, "no rows"),
        (b'{"instances": [[1]]}', "application/json", 422, "a list of 2 values: x, y"),
        (b'{"dataframe_split": {"columns": ["x"]}}', "application/json", 422, "an object with columns and data"),
        (b'{"dataframe_split": {"columns": [1], "data": [[1]]}}', "application/json", 422, "different names"),
        (b'{"dataframe_split": {"columns": ["x"], "data": [[1, 2]]}}', "application/json", 422, "a list of 1 values"),
        (
            b'{"dataframe_split": {"columns": ["z"], "data": [[1]]}}',
            "application/json",
            422,
            "no such field; the model",
        ),
        (b"x\n", "text/csv", 422, "no rows"),
        (b"x\n" * 67, "text/csv", 422, "at most 65 rows in one request"),
        (b"", "text/csv", 400, "a header"),
        (b"x,x\n1,2\n", "text/csv", 400, "twice"),
        (b"x,y\n1\n", "text/csv", 400, "row 0 has 1 fields, the header 2"),
        (b"x\n1a\n", "text/csv", 422, "x in row 0 is '1a', expected a number"),
        (b"x\ninf\n", "text/csv", 422, "x in row 0 is 'inf'"),
        (b"x\n1e999\n", "text/csv", 422, "x in row 0 is inf"),
        (b"x,z\n1,2\n", "text/csv", 422, "no such field"),
        (b"x\n\xff\n", "text/csv", 400, "not CSV in UTF-8"),
        (b"x", "text/csv; charset=latin-1", 415, "send UTF-8"),
        (b"x", "application/xml", 415, "application/json or text/csv"),
    ],
)
async def test_scorings_that_cannot_be_answered(  # noqa: PLR0917
    predictor: Predictor, tmp_path: Path, content: bytes, kind: str, status: int, said: str
) -> None:
    predictor.serve("m", bundles.classifier(tmp_path, 0.25))
    answer = await predictor.client.post("/invocations", content=content, headers={"content-type": kind})
    assert said in answer.json()["message"]
    assert answer.status_code == status
    assert answer.json()["error_code"] == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize(
    ("path", "headers", "key"),
    [
        ("/predict", {}, "detail"),
        ("/invocations", {}, "message"),
        ("/invocations", {"content-type": "text/csv"}, "message"),
        ("/v2/models/m/infer", {}, "error"),
        ("/v2/models/m/infer", {"inference-header-content-length": "9999"}, "error"),
    ],
)
async def test_a_packed_body_is_named_as_such(model: Predictor, path: str, headers: dict[str, str], key: str) -> None:
    content = gzip.compress(b"x,y\n1,2\n")
    answer = await model.client.post(path, content=content, headers=headers | {"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()[key]) == (415, "the body is packed (gzip): send it as it is")


@pytest.mark.parametrize("model", ["infer", "ready", "a/infer"])
async def test_the_protocol_tells_about_models_named_like_verbs(
    predictor: Predictor, tmp_path: Path, model: str
) -> None:
    predictor.serve(model, bundles.classifier(tmp_path, 0.25))
    url = httpx.URL("http://predictor").copy_with(raw_path=f"/v2/models/{subject_token(model)}".encode())
    assert (await predictor.client.get(url)).json()["name"] == model


async def test_the_protocol_tells_about_server_and_models(predictor: Predictor, tmp_path: Path) -> None:
    predictor.serve("a/b", bundles.classifier(tmp_path, 0.25), "3")
    predictor.slots.of("empty")

    async def told(path: str) -> tuple[int, Any]:
        answer = await predictor.client.get(httpx.URL("http://predictor").copy_with(raw_path=path.encode()))
        return answer.status_code, answer.json()

    assert (await told("/v2"))[1]["extensions"] == ["binary_tensor_data"]
    assert await told("/v2/health/live") == (200, {"live": True})
    assert await told("/v2/health/ready") == (200, {"ready": True})
    for path in ("/v2/models/a/b", "/v2/models/a%2Fb", "/v2/models/a%2Fb/versions/3"):
        assert await told(path) == (
            200,
            {
                "name": "a/b",
                "versions": ["3"],
                "platform": "onnx_onnxv1",
                "inputs": [
                    {"name": "x", "datatype": "FP64", "shape": [-1]},
                    {"name": "y", "datatype": "FP64", "shape": [-1]},
                ],
                "outputs": [
                    {"name": "prediction", "datatype": "INT64", "shape": [-1]},
                    {"name": "probabilities", "datatype": "FP64", "shape": [-1, 2]},
                ],
            },
        )
        assert (await told(path + "/ready"))[0] == 200
    assert await told("/v2/models/a%2Fb/versions/4/ready") == (
        404,
        {"error": "version '4' of a/b is not served here: 3 is"},
    )
    assert (await told("/v2/models/empty/ready"))[0] == 503
    assert await told("/v2/nothing") == (404, {"error": "Not Found"})


async def test_mlflow_asks_how_it_is(predictor: Predictor) -> None:
    assert (await predictor.client.get("/ping")).status_code == 200
    assert (await predictor.client.get("/version")).text == "0.1.0"


async def test_every_example_in_the_document_works(predictor: Predictor, tmp_path: Path) -> None:
    predictor.serve("a b", bundles.classifier(tmp_path, 0.25))
    paths = (await predictor.client.get("/openapi.json")).json()["paths"]
    posts = {path: methods["post"] for path, methods in paths.items() if "post" in methods}
    assert len(posts) == 5
    for path, post in posts.items():
        example = post["requestBody"]["content"]["application/json"]["example"]
        assert (await predictor.client.post(path, json=example)).status_code == 200, path
    for path, methods in paths.items():
        assert "get" not in methods or (await predictor.client.get(path)).status_code == 200, path
