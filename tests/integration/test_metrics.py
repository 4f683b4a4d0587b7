"""What a predictor of several workers tells Prometheus, and what it writes of its requests."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.models import Model
from tests.integration.predictors import WORKERS, Predictor, predictor_process
from tests.servers import wait_for

ASKED = 40
TRACE = "a" * 32


@pytest.fixture
def predictor(nats_url: str, tmp_path: Path) -> Iterator[Predictor]:
    with predictor_process(nats_url, tmp_path, BATON_ACCESS_LOG="true", BATON_LOG_JSON="true") as process:
        yield process


def scraped(predictor: Predictor, name: str, model: str) -> float:
    text = httpx.get(f"{predictor.url}/metrics", timeout=5).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return sum(one.value for one in samples if one.name == name and one.labels.get("model", model) == model)


def ask(predictor: Predictor, model: str) -> None:
    for _ in range(ASKED):
        assert predictor.predict(model).status_code == 200  # each on a connection of its own: any worker answers


async def test_whichever_worker_is_scraped_tells_of_all_and_nothing_is_forgotten(
    predictor: Predictor, model: Model
) -> None:
    await model.serve(0.25)
    await asyncio.to_thread(ask, predictor, model.name)
    for _ in range(10):
        assert scraped(predictor, "baton_prediction_seconds_count", model.name) == ASKED
        assert scraped(predictor, "baton_swap_delay_seconds_count", model.name) == WORKERS
        assert scraped(predictor, "baton_champion_generation", model.name) == 1

    old = [worker.pid for worker in predictor.workers()]
    os.kill(old[0], signal.SIGKILL)
    await asyncio.to_thread(wait_for, "the worker to be gone", lambda: not psutil.pid_exists(old[0]), 30)
    await asyncio.to_thread(wait_for, "another in its place", predictor.all_ready, 30)
    await asyncio.to_thread(ask, predictor, model.name)
    assert scraped(predictor, "baton_prediction_seconds_count", model.name) == 2 * ASKED
    assert scraped(predictor, "baton_predictions_inside", model.name) == 0


async def test_the_access_log_has_a_line_per_request_whichever_way_it_went(predictor: Predictor, model: Model) -> None:
    await model.serve(0.25)
    path = f"/models/{model.name}/predict"
    async with httpx.AsyncClient(base_url=predictor.url) as client:
        for body in ({"x": 1}, [{"x": 1}] * 100, {"y": 1}):
            await client.post(
                path, json=body, headers={"x-request-id": "r-7", "traceparent": f"00-{TRACE}-{'b' * 16}-01"}
            )
        await client.get("/nowhere")

    def lines() -> list[dict[str, object]]:
        written = [json.loads(line) for line in predictor.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in written if line["event"] == "request" and line["path"] in {path, "/nowhere"}]

    await asyncio.to_thread(wait_for, "four lines", lambda: len(lines()) == 4)
    assert [line["status"] for line in lines()] == [200, 200, 422, 404]
    assert [line["method"] for line in lines()] == ["POST", "POST", "POST", "GET"]
    assert [line.get("version") for line in lines()] == ["1", "1", None, None]
    assert [line.get("generation") for line in lines()] == [1, 1, None, None]
    assert [(line.get("request"), line.get("trace")) for line in lines()] == [("r-7", TRACE)] * 3 + [(None, None)]
