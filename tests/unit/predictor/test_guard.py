"""A predictor that asks for keys: whom it lets in, what it says to others, what stays open."""

import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog.testing
from starlette.types import Message

from services.predictor.access import AccessLog
from services.predictor.whole import Whole
from shared.keys import Keys, line_of, new_key
from tests import bundles
from tests.unit.predictor.api import Predictor

KEY = new_key()
ROW = b'{"x": 1}'
INFER = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]}'
ASKED = [
    ("/predict", ROW, "detail"),
    ("/models/heart/predict", ROW, "detail"),
    ("/invocations", b'{"inputs": {"x": [1]}}', "message"),
    ("/models/heart/invocations", b'{"inputs": {"x": [1]}}', "message"),
    ("/v2/models/heart/infer", INFER, "error"),
]
READ = ["/models", "/models/heart", "/version", "/docs", "/openapi.json", "/v2", "/v2/models/heart", "/nowhere"]
OPEN = ["/health", "/ready", "/ping", "/v2/health/live", "/v2/health/ready", "/metrics"]


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Predictor]:
    file = tmp_path / "keys"
    file.write_text(line_of("ann", KEY))
    keys = Keys(file)
    keys.read()
    made = Predictor(tmp_path, keys=keys)
    made.serve("heart", bundles.classifier(tmp_path, 0.25), quick=True)
    async with made.client:
        yield made
    made.executor.close()


def said(answer: httpx.Response, name: str) -> str:
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="baton"'
    assert KEY not in answer.text
    return str(answer.json()[name])


@pytest.mark.parametrize(("path", "body", "name"), ASKED)
async def test_each_protocol_refuses_strangers_in_its_own_form(
    guarded: Predictor, path: str, body: bytes, name: str
) -> None:
    assert "show a key" in said(await guarded.client.post(path, content=body), name)
    wrong = {"x-api-key": new_key()}
    assert "not known" in said(await guarded.client.post(path, content=body, headers=wrong), name)
    for headers in ({"authorization": f"Bearer {KEY}"}, {"x-api-key": KEY}):
        assert (await guarded.client.post(path, content=body, headers=headers)).status_code == 200


@pytest.mark.parametrize(("path", "body", "name"), ASKED)
async def test_what_is_answered_at_once_is_guarded_as_well(
    guarded: Predictor, path: str, body: bytes, name: str
) -> None:
    refused = guarded.api.at_once(Whole(path.encode(), [], body))
    assert refused is not None
    assert refused[0] == 401
    let_in = guarded.api.at_once(Whole(path.encode(), [(b"x-api-key", KEY.encode())], body))
    assert let_in is not None
    assert let_in[0] == 200


@pytest.mark.parametrize("path", READ)
async def test_reads_need_a_key(guarded: Predictor, path: str) -> None:
    assert said(await guarded.client.get(path), "error" if path.startswith("/v2") else "detail")
    answer = await guarded.client.get(path, headers={"x-api-key": KEY})
    assert answer.status_code == (404 if path == "/nowhere" else 200)


@pytest.mark.parametrize("path", OPEN)
async def test_what_balancers_and_prometheus_ask_is_open(guarded: Predictor, path: str) -> None:
    assert (await guarded.client.get(path)).status_code == 200


async def test_a_stranger_s_body_is_not_read(guarded: Predictor) -> None:
    async def receive() -> Any:
        pytest.fail("the body was read")

    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "path": "/predict", "raw_path": b"/predict", "headers": [],
    }  # fmt: skip
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await guarded.api(scope, receive, send)
    assert sent[0]["status"] == 401


async def test_the_access_log_names_the_key(guarded: Predictor) -> None:
    guarded.api._access = AccessLog(on=True)
    mine = {"x-api-key": KEY}
    with structlog.testing.capture_logs() as lines:
        await guarded.client.post("/predict", content=ROW, headers=mine)
        await guarded.client.post("/predict", content=b"{", headers=mine)
        await guarded.client.get("/models", headers=mine)
        await guarded.client.post("/predict", content=ROW)
        await guarded.client.get("/health")
    assert [(line["status"], line.get("key")) for line in lines] == [
        (200, "ann"), (400, "ann"), (200, "ann"), (401, None), (200, None),
    ]  # fmt: skip
    assert KEY not in str(lines)


async def test_no_page_of_another_origin_is_told_anything(predictor: Predictor, tmp_path: Path) -> None:
    predictor.serve("heart", bundles.classifier(tmp_path, 0.25), quick=True)
    page = {"origin": "http://elsewhere.example", "access-control-request-method": "POST"}
    for answer in (
        await predictor.client.options("/predict", headers=page),
        await predictor.client.post("/predict", content=ROW, headers=page),
        await predictor.client.get("/models", headers=page),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_paths_of_strangers_stay_nowhere(guarded: Predictor) -> None:
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def ask(number: int) -> None:
        for end in ("", "/predict", "/infer"):
            path = f"/v2/models/{number:050000}{end}"
            scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
            await guarded.api(scope | {"headers": [(b"host", b"predictor")]}, receive, send)

    await ask(0)
    tracemalloc.start()
    for number in range(1, 30):
        await ask(number)
    now, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert statuses == [401] * 90
    assert now < 10 * 50_000
