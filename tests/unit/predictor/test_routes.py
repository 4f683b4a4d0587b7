"""The HTTP interface over real slots and tiny real bundles."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from services.predictor.executor import ROWS_INLINE
from services.predictor.routes import openapi
from shared.bundle import Column
from shared.event import subject_token
from tests import bundles
from tests.unit.predictor.api import READY, Predictor


async def test_one_object_in_one_answer_out(predictor: Predictor, tmp_path: Path) -> None:
    predictor.serve("heart", bundles.classifier(tmp_path, 0.25), "7")
    answer = await predictor.client.post("/predict", json={"x": 1, "y": 2})
    assert answer.status_code == 200
    assert answer.json() == {
        "model": "heart",
        "version": "7",
        "prediction": 0,
        "probabilities": {"0": pytest.approx(0.75), "1": pytest.approx(0.25)},
    }


@pytest.mark.parametrize("rows", [1, 2, ROWS_INLINE + 1])
async def test_a_list_in_a_list_out(predictor: Predictor, tmp_path: Path, rows: int) -> None:
    predictor.serve("heart", bundles.classifier(tmp_path, 0.75))
    answer = (await predictor.client.post("/models/heart/predict", json=[{"x": 1}] * rows)).json()
    assert (answer["model"], answer["version"]) == ("heart", "1")
    assert [row["prediction"] for row in answer["predictions"]] == [1] * rows
    assert answer["predictions"][0]["probabilities"]["1"] == pytest.approx(0.75)


async def test_regression_answers_a_number(predictor: Predictor, tmp_path: Path) -> None:
    predictor.serve("price", bundles.regressor(tmp_path, 12.5))
    assert (await predictor.client.post("/predict", json={"x": 1})).json() == {
        "model": "price", "version": "1", "prediction": 12.5,
    }  # fmt: skip
    many = (await predictor.client.post("/predict", json=[{"x": 1}])).json()
    assert many == {"model": "price", "version": "1", "predictions": [{"prediction": 12.5}]}


@pytest.mark.parametrize("model", ["a/b", "ü %2F.x", "predict", "models/x/predict"])
async def test_any_name_can_be_asked(predictor: Predictor, tmp_path: Path, model: str) -> None:
    predictor.serve(model, bundles.classifier(tmp_path, 0.25))
    url = httpx.URL("http://predictor").copy_with(raw_path=f"/models/{subject_token(model)}/predict".encode())
    assert (await predictor.client.post(url, json={"x": 1})).json()["model"] == model
    url = url.copy_with(raw_path=f"/models/{subject_token(model)}".encode())
    assert (await predictor.client.get(url)).json()["model"] == model


async def test_who_is_not_served(predictor: Predictor, tmp_path: Path) -> None:
    async def problem(path: str) -> tuple[int, str]:
        answer = await predictor.client.post(path, json={"x": 1})
        return answer.status_code, answer.json()["detail"]

    status, detail = await problem("/predict")
    assert status == 503
    assert "baton train" in detail
    assert (await problem("/models/heart/predict"))[0] == 404
    predictor.slots.of("heart")
    status, detail = await problem("/models/heart/predict")
    assert status == 503
    assert "heart has no champion" in detail
    for model in ("a", "b"):
        predictor.serve(model, bundles.classifier(tmp_path, 0.25))
    status, detail = await problem("/predict")
    assert status == 409
    assert "a, b" in detail


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"", 400),
        (b"\xff", 400),
        (b'{"x": NaN}', 400),
        (b'{"x": 1e999}', 400),
        (b"[]", 422),
        (b"1", 422),
        (b"{}", 422),
        (b'{"x": "1"}', 422),
        (b"[" + b"{}," * (ROWS_INLINE + 1) + b"{}]", 422),
        (b'{"x": ' + b" " * 10_000 + b"1}", 413),
    ],
)
async def test_a_body_that_cannot_be_answered(predictor: Predictor, tmp_path: Path, body: bytes, status: int) -> None:
    predictor.serve("heart", bundles.classifier(tmp_path, 0.25))
    answer = await predictor.client.post("/predict", content=body)
    assert answer.status_code == status
    assert answer.json()["detail"]


async def test_every_fault_is_in_the_answer(predictor: Predictor, tmp_path: Path) -> None:
    predictor.serve("heart", bundles.classifier(tmp_path, 0.25))
    answer = await predictor.client.post("/predict", json=[{"x": 1}, {"x": True, "z": 2}])
    assert answer.json() == {
        "message": "the rows do not fit the model's inputs",
        "detail": [
            {"field": "x", "row": 1, "got": True, "expected": "a number"},
            {"field": "z", "row": 1, "got": 2, "expected": "no such field; the model has x, y"},
        ],
    }


async def test_a_request_ends_with_the_model_that_it_began_with(predictor: Predictor, tmp_path: Path) -> None:
    paused = predictor.serve_paused("heart", bundles.classifier(tmp_path, 0.25), "2")
    asking = asyncio.create_task(predictor.client.post("/predict", json={"x": 1}))
    assert await asyncio.to_thread(paused.begun.wait, 10)
    predictor.serve("heart", bundles.classifier(tmp_path, 0.9), "3")
    assert (await predictor.client.post("/predict", json={"x": 1})).json()["version"] == "3", "the loop is free"
    predictor.gate.is_draining = True
    paused.released.set()
    response = await asking
    assert response.headers["connection"] == "close", "it drains by now"
    answer = response.json()
    assert (answer["version"], answer["probabilities"]["1"]) == ("2", 1.0)
    assert paused.thread is not threading.main_thread()


@pytest.fixture
async def hasty(tmp_path: Path) -> AsyncIterator[Predictor]:
    made = Predictor(tmp_path, request_timeout_s=0.1)
    async with made.client:
        yield made
    made.executor.close()


async def test_a_model_that_does_not_answer_in_time_is_a_504(hasty: Predictor, tmp_path: Path) -> None:
    paused = hasty.serve_paused("heart", bundles.classifier(tmp_path, 0.25))
    answer = await hasty.client.post("/predict", json={"x": 1})
    paused.released.set()
    assert (answer.status_code, answer.json()["detail"]) == (504, "heart did not answer within 0.1 s")


async def test_a_body_that_does_not_arrive_in_time_is_a_408(hasty: Predictor, tmp_path: Path) -> None:
    hasty.serve("heart", bundles.classifier(tmp_path, 0.25))

    async def half_a_body() -> AsyncIterator[bytes]:
        yield b'{"x": '
        await asyncio.Event().wait()

    answer = await hasty.client.post("/predict", content=half_a_body())
    assert (answer.status_code, answer.json()["detail"]) == (408, "the body did not arrive within 0.1 s")


async def test_what_is_served_and_how_it_is(predictor: Predictor, tmp_path: Path) -> None:
    champion = predictor.serve("heart", bundles.classifier(tmp_path, 0.25), "3")
    predictor.slots.of("known")
    listed: dict[str, Any] = (await predictor.client.get("/models")).json()
    assert listed["worker"] == 1
    heart, known = listed["models"]
    assert known == {"model": "known", "version": None}
    assert heart == (await predictor.client.get("/models/heart")).json()
    assert {name: heart[name] for name in ("model", "version", "generation", "ledger", "digest", "runtime")} == {
        "model": "heart", "version": "3", "generation": 3, "ledger": "l", "digest": champion.digest, "runtime": "onnx",
    }  # fmt: skip
    assert heart["runtime_reason"] == "made for a test"
    assert heart["inputs"][1] == {"name": "y", "type": "double", "required": False}
    assert datetime.fromisoformat(heart["since"]) == champion.since
    assert (await predictor.client.get("/models/nobody")).status_code == 404


async def test_health_and_readiness(predictor: Predictor) -> None:
    assert (await predictor.client.get("/health")).json() == {
        "status": "ok", "worker": 1, "workers_ready": 2, "workers_expected": 2,
    }  # fmt: skip
    assert (await predictor.client.get("/ready")).status_code == 200
    predictor.status = replace(READY, ready=False, bus="unreachable")
    answer = await predictor.client.get("/ready")
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "bus": "unreachable", "models": []}
    assert (await predictor.client.get("/health")).status_code == 200


async def test_what_takes_long_to_tell_is_told_in_a_thread(predictor: Predictor, tmp_path: Path) -> None:
    seen: list[threading.Thread] = []

    def ready() -> int:
        seen.append(threading.current_thread())
        return 2

    class Seen(Column):
        def model_dump(self, **options: Any) -> dict[str, Any]:
            seen.append(threading.current_thread())
            return super().model_dump(**options)

    champion = predictor.serve("heart", bundles.classifier(tmp_path, 0.25))
    manifest = champion.verified.manifest.model_copy(update={"inputs": [Seen(name="x", type="double")]})
    predictor.slots.of("heart").champion = replace(champion, verified=replace(champion.verified, manifest=manifest))
    predictor.status = replace(READY, count_ready=ready)
    assert (await predictor.client.get("/models")).json()["models"][0]["inputs"][0]["name"] == "x"
    assert (await predictor.client.get("/health")).json()["workers_ready"] == 2
    assert len(seen) == 2
    assert threading.current_thread() not in seen


async def test_it_documents_each_model_with_an_example_that_works(predictor: Predictor, tmp_path: Path) -> None:
    async def paths() -> Any:
        return (await predictor.client.get("/openapi.json")).json()["paths"]

    assert (await predictor.client.get("/docs")).status_code == 200
    assert "/models/a%20b/predict" not in await paths()
    seen = {"minimum": 1.0, "maximum": 2.5}
    inputs = [{"name": "x", "type": "double"} | seen, {"name": "y", "type": "double", "required": False}]
    predictor.serve("a b", bundles.classifier(tmp_path, 0.25, inputs=inputs))
    for path in ("/predict", "/models/a%20b/predict"):
        post = (await paths())[path]["post"]
        assert {"400", "404", "408", "409", "413", "422", "503", "504"} <= post["responses"].keys()
        content = post["requestBody"]["content"]["application/json"]
        row = content["schema"]["oneOf"][0]
        assert row["required"] == ["x"]
        assert row["properties"]["x"] == {
            "type": "number", "description": "1 to 2.5 in training", "x-seen-in-training": seen,
        }  # fmt: skip
        assert row["properties"]["y"] == {"type": ["number", "null"]}
        assert (await predictor.client.post(path, json=content["example"])).status_code == 200
    predictor.slots.of("a b").withdraw("l", 2)
    assert "/models/a%20b/predict" not in await paths(), "it follows what is served"


async def test_the_document_is_made_off_the_loop_and_again_only_after_a_change(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = list[threading.Thread]()

    def noted(name: str, safe: str) -> str:
        threads.append(threading.current_thread())
        return quote(name, safe)

    monkeypatch.setattr(openapi, "quote", noted)
    for version in ("1", "2"):
        predictor.serve("heart", bundles.classifier(tmp_path, 0.25), version)
        threads.clear()
        first = await predictor.client.get("/openapi.json")
        assert threads
        assert threading.main_thread() not in threads
        threads.clear()
        assert (await predictor.client.get("/openapi.json")).content == first.content
        assert not threads


async def test_columns_in_a_list_out(predictor: Predictor, tmp_path: Path) -> None:
    predictor.serve("heart", bundles.classifier(tmp_path, 0.75))
    asked = {"columns": {"x": [1, 2, 3], "y": [None, 1.5, 2]}}
    answer = await predictor.client.post("/predict", json=asked)
    assert [row["prediction"] for row in answer.json()["predictions"]] == [1, 1, 1]
    assert (answer.headers["baton-model"], answer.headers["baton-version"]) == ("heart", "1")


async def test_what_is_no_route(predictor: Predictor) -> None:
    assert (await predictor.client.get("/nothing")).json() == {"detail": "Not Found"}
    assert (await predictor.client.post("/models/x")).status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "/predict",
        "/invocations",
        "/models/m/predict",
        "/models/m/invocations",
        "/models/nobody/predict",
        "/v2/models/m/infer",
        "/v2/models/m/versions/1/infer",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_predictions_take_no_other_method_than_post(
    predictor: Predictor, tmp_path: Path, method: str, path: str
) -> None:
    predictor.serve("m", bundles.classifier(tmp_path, 0.25))
    answer = await predictor.client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    if method != "HEAD":
        assert answer.json() == {"error" if path.startswith("/v2") else "detail": "Method Not Allowed"}


async def test_a_path_that_is_like_one_is_none(predictor: Predictor) -> None:
    assert (await predictor.client.post("/predict/", json={})).status_code == 404


async def test_more_requests_than_are_taken_are_shed(predictor: Predictor, tmp_path: Path) -> None:
    predictor.serve("heart", bundles.classifier(tmp_path, 0.25))
    predictor.gate.inside = 8
    answer = await predictor.client.post("/predict", json={"x": 1})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "8 requests are waiting" in answer.json()["detail"]
    predictor.gate.inside = 7
    assert (await predictor.client.post("/predict", json={"x": 1})).status_code == 200
    assert predictor.gate.inside == 7


async def test_while_it_drains_clients_are_asked_to_leave(predictor: Predictor, tmp_path: Path) -> None:
    predictor.serve("heart", bundles.classifier(tmp_path, 0.25))
    predictor.gate.is_draining = True
    for answer in (await predictor.client.post("/predict", json={"x": 1}), await predictor.client.get("/health")):
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
