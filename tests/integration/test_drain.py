"""SIGTERM under load: not ready first, every request that was taken is answered, and then connections are refused."""

import asyncio
import http.client
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from services.predictor.executor import ROWS_INLINE
from shared.bus import NatsBus
from shared.events import ModelServing
from tests import bundles
from tests.integration.models import Model
from tests.integration.predictors import Predictor, predictor_process
from tests.processes import wait_until_ended
from tests.servers import wait_for

HALF, REST = b'{"x": ', b"1}"


@pytest.fixture
def predictor(nats_url: str, tmp_path: Path) -> Iterator[Predictor]:
    with predictor_process(nats_url, tmp_path, BATON_DRAIN_S="1.5") as process:
        yield process


@contextmanager
def connection(predictor: Predictor) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection(predictor.url.removeprefix("http://"), timeout=10)
    made.connect()
    yield made
    made.close()


def begin(asking: http.client.HTTPConnection, path: str) -> None:
    """Send a request without the end of its body."""
    asking.putrequest("POST", path)
    asking.putheader("Content-Length", str(len(HALF + REST)))
    asking.endheaders(HALF)


def is_ready(predictor: Predictor) -> bool:
    return httpx.get(f"{predictor.url}/ready", timeout=5).status_code == 200


async def test_what_was_begun_is_answered(predictor: Predictor, model: Model) -> None:
    await model.serve(0.25)
    path = f"/models/{model.name}/predict"
    with connection(predictor) as begun, connection(predictor) as silent:
        begin(begun, path)
        await asyncio.to_thread(predictor.predict, model.name)
        os.kill(predictor.process.pid, signal.SIGTERM)
        await asyncio.to_thread(wait_for, "readiness to turn false", lambda: not is_ready(predictor))
        begin(silent, path)
        for asking in (begun, silent):
            asking.send(REST)
            answer = asking.getresponse()
            assert answer.status == 200
    assert await asyncio.to_thread(predictor.process.wait, 20) in {0, None}
    with pytest.raises(httpx.ConnectError):
        await asyncio.to_thread(predictor.predict, model.name)


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
async def test_a_prediction_that_never_ends_keeps_no_worker_from_ending(
    nats_url: str, bus: NatsBus, tmp_path: Path, model: Model, by: signal.Signals
) -> None:
    with predictor_process(nats_url, tmp_path, BATON_DRAIN_S="0", BATON_REQUEST_TIMEOUT_S="1") as predictor:
        version = await model.promote(await bus.put_bundle(*bundles.hanging(tmp_path, above=9.0)), 0)
        await model.said(ModelServing, version)
        rows = [{"x": 10.0}] * (ROWS_INLINE + 1)  # too many for the loop, which hands them to a thread
        url = f"{predictor.url}/models/{model.name}/predict"
        answer = await asyncio.to_thread(httpx.post, url, json=rows, timeout=20)
        assert answer.status_code == 504
        workers = predictor.workers()
        for worker in workers:
            worker.send_signal(by)
        await asyncio.to_thread(wait_until_ended, workers)


async def test_a_prediction_that_never_ends_on_the_loop_keeps_no_predictor_from_ending(
    nats_url: str, bus: NatsBus, tmp_path: Path, model: Model
) -> None:
    with predictor_process(nats_url, tmp_path, BATON_DRAIN_S="0", BATON_REQUEST_TIMEOUT_S="1") as predictor:
        version = await model.promote(await bus.put_bundle(*bundles.hanging(tmp_path, above=9.0)), 0)
        await model.said(ModelServing, version)
        assert predictor.predict(model.name).status_code == 200
        with pytest.raises(httpx.ReadTimeout):
            await asyncio.to_thread(predictor.predict, model.name, {"x": 10.0})
        family = [predictor.process, *predictor.process.children(recursive=True)]
        predictor.process.terminate()
        await asyncio.to_thread(wait_until_ended, family)


async def test_under_load_nothing_is_reset(predictor: Predictor, model: Model) -> None:
    await model.serve(0.25)
    outcomes: Counter[str] = Counter()
    asking = [asyncio.create_task(asyncio.to_thread(ask_on, predictor, model.name, outcomes)) for _ in range(4)]
    async with asyncio.timeout(20):
        while outcomes["200"] < 100:
            await asyncio.sleep(0.02)
    os.kill(predictor.process.pid, signal.SIGTERM)
    await asyncio.wait_for(asyncio.gather(*asking), 30)
    assert set(outcomes) == {"200", "refused"}, outcomes


def ask_on(predictor: Predictor, name: str, outcomes: Counter[str]) -> None:
    """Ask again and again over one connection, a new one where the server closed it, until connections are refused."""
    with connection(predictor) as asking:
        outcome = "200"
        while outcome == "200":
            try:
                asking.request("POST", f"/models/{name}/predict", HALF + REST)
                answer = asking.getresponse()
                answer.read()
                outcome = str(answer.status)
            except ConnectionRefusedError:
                outcome = "refused"
            except (OSError, http.client.HTTPException) as error:
                outcome = repr(error)
            outcomes[outcome] += 1
