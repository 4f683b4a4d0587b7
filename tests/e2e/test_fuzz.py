"""Whatever is sent, nothing breaks: schemathesis over the whole document, junk bodies, flat memory."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.serving import COMPILED, NATIVE, Serving

POSTS = (
    "/predict",
    "/invocations",
    f"/models/{NATIVE}/predict",
    f"/models/{NATIVE}/invocations",
    f"/v2/models/{COMPILED}/infer",
    f"/v2/models/{NATIVE}/infer",
)
LARGE = b"[" + b'{"age": "x"},' * 700_000 + b"{}]"
CHECKS = "not_a_server_error,response_schema_conformance,content_type_conformance,status_code_conformance"


@pytest.mark.timeout(0)  # the process that it waits for has its own deadline
def test_schemathesis_finds_nothing(heart: Serving, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    seconds: int = request.config.getoption("--fuzz-seconds")
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{heart.predictor.url}/openapi.json"]
    options = ["--checks", CHECKS, "--max-time", str(seconds), "--continue-on-failure", "--no-color"]
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=seconds + 100
    )
    (tmp_path / "report.txt").write_text(done.stdout)
    print(done.stdout[-1000:])
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
names = st.sampled_from(
    ["age", "thal", "x", "columns", "data", "index", "inputs", "instances", "dataframe_split", "dataframe_records",
     "params", "outputs", "parameters", "name", "shape", "datatype", "binary_data_size", "id"]
)  # fmt: skip
words = st.sampled_from(["age", "FP64", "BYTES", "INT64", "prediction", "1e5", "NaN"])
bodies = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=25,
)
junk = st.binary(max_size=200) | bodies.map(lambda body: json.dumps(body).encode()) | st.text().map(str.encode)
kinds = st.sampled_from(["application/json", "text/csv", "text/csv; charset=utf-8", "", "junk/junk; q=1"])
lengths = st.none() | st.integers(-5, 300).map(str) | st.text("0123456789x", min_size=1, max_size=30)


def test_junk_is_refused_and_leaves_nothing_behind(heart: Serving) -> None:
    (worker,) = (psutil.Process(child.pid) for child in heart.predictor.workers()[:1])
    statuses: set[int] = set()
    with httpx.Client(base_url=heart.predictor.url, timeout=20) as client:

        @settings(max_examples=700, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(st.sampled_from(POSTS), junk, kinds, lengths)
        def send(path: str, body: bytes, kind: str, length: str | None) -> None:
            headers: dict[str, Any] = {"content-type": kind}
            headers |= {} if length is None else {"inference-header-content-length": length}
            answer = client.post(path, content=body, headers=headers)
            statuses.add(answer.status_code)
            assert answer.status_code < 500, (path, body, headers, answer.text)
            orjson.loads(answer.content)

        def send_large() -> None:
            for path in POSTS:
                assert client.post(path, content=LARGE).status_code in {400, 413, 415, 422}

        send()
        send_large()
        send_large()
        before = worker.memory_info().rss
        for _ in range(2):
            send()
            send_large()
        grown = worker.memory_info().rss - before
        assert client.get("/ready").status_code == 200
    assert heart.predictor.workers()[0].pid == worker.pid, "the worker died and was replaced"
    assert {400, 422} <= statuses
    print(
        f"memory grew by {grown / 1e6:.1f} MB to {(before + grown) / 1e6:.0f} MB over 1,400 junk bodies and 12 of 9 MB"
    )
    assert grown < 50e6, "twelve leaked bodies would be more, as the objects that they are parsed to"
