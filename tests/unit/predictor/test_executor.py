"""Where predictions run: what costs time never runs on the loop, and a model that is slow or hangs is slow alone."""

import asyncio
import math
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import thread_time

import numpy as np
import pytest

from services.predictor.executor import (
    OTHERS_AT_ONCE,
    REQUESTS_PER_MODEL,
    ROWS_INLINE,
    TOO_LONG_S,
    Executor,
    is_quick,
    predicted,
)
from shared.bundle import Columns, RuntimeKind
from shared.errors import OverloadedError
from shared.runtime import Prediction
from shared.verification import VerifiedModel, verify
from tests import bundles
from tests.unit.predictor.api import Predictor
from tests.unit.predictor.conftest import until

THREADS_BEFORE = 4


class Busy:
    """Takes some processor time per row, and knows in which threads."""

    def __init__(self, row_s: float) -> None:
        self.row_s = row_s
        self.threads: list[threading.Thread] = []

    def predict(self, columns: Columns) -> Prediction:
        self.threads.append(threading.current_thread())
        rows = len(columns["x"])
        end = thread_time() + rows * self.row_s
        while thread_time() < end:
            pass
        return Prediction([0.0] * rows)


class Hanging:
    """Answers when it is let go."""

    def __init__(self) -> None:
        self.begun, self.released = threading.Event(), threading.Event()

    def predict(self, columns: Columns) -> Prediction:
        self.begun.set()
        assert self.released.wait(60)
        return Prediction([0.0] * len(columns["x"]))


@pytest.fixture
def executor() -> Iterator[Executor]:
    made = Executor()
    yield made
    made.close()


@pytest.fixture
def compiled(tmp_path: Path) -> VerifiedModel:
    archive, digest = bundles.regressor(tmp_path, 1.0)
    return verify(archive, tmp_path / "unpacked", digest)


def running(model: VerifiedModel, runtime: Busy | Hanging, kind: RuntimeKind = "onnx") -> VerifiedModel:
    manifest = model.manifest.model_copy(update={"runtime": kind})
    return replace(model, runtime=runtime, manifest=manifest, row_s=math.inf)


def rows(number: int) -> Columns:
    return {"x": np.ones(number), "y": np.ones(number)}


def test_what_verification_measured_counts_from_the_first_request_on(compiled: VerifiedModel) -> None:
    assert 0 < compiled.row_s < 1
    for row_s, most in ((1e-9, ROWS_INLINE), (0.0002, 2), (0.001, 0), (math.inf, 0)):
        model = replace(compiled, row_s=row_s)
        assert is_quick(model) == (most > 0)
        assert is_quick(model, rows(max(most, 1))) == (most > 0)
        assert not is_quick(model, rows(most + 1))


async def test_a_quick_model_answers_on_the_loop_once_it_is_known_to_be_quick(
    executor: Executor, compiled: VerifiedModel
) -> None:
    compiled = replace(compiled, row_s=math.inf)
    assert not is_quick(compiled), "nobody knows before the first answer"
    for number in (1, ROWS_INLINE):
        assert (await executor.predict(compiled, rows(number))).values == [1.0] * number
    assert is_quick(compiled)
    assert is_quick(compiled, rows(ROWS_INLINE))
    assert not is_quick(compiled, rows(ROWS_INLINE + 1))


async def test_a_costly_compiled_model_never_runs_on_the_loop(executor: Executor, compiled: VerifiedModel) -> None:
    costly = Busy(row_s=0.002)
    model = running(compiled, costly)
    for number in (1, 3, 1, ROWS_INLINE, 1):
        await executor.predict(model, rows(number))
        assert not is_quick(model)
    assert threading.main_thread() not in costly.threads


async def test_only_so_many_rows_as_take_no_time_are_answered_on_the_loop(
    executor: Executor, compiled: VerifiedModel
) -> None:
    model = running(compiled, Busy(row_s=0.00005))
    for number in (ROWS_INLINE, 1, ROWS_INLINE):
        await executor.predict(model, rows(number))
    assert is_quick(model)
    assert not is_quick(model, rows(11)), "11 rows take 0.55 ms"


async def test_a_model_that_turns_out_to_be_slow_leaves_the_loop(executor: Executor, compiled: VerifiedModel) -> None:
    runtime = Busy(row_s=0)
    model = running(compiled, runtime)
    await executor.predict(model, rows(1))
    assert is_quick(model)
    runtime.row_s = 2 * TOO_LONG_S
    predicted(model, rows(1))
    assert not is_quick(model)


async def test_a_quick_model_is_back_on_the_loop_after_a_moment_in_which_the_processor_was_others(
    executor: Executor, compiled: VerifiedModel
) -> None:
    runtime = Busy(row_s=2 * TOO_LONG_S)
    model = replace(running(compiled, runtime), row_s=0.00005)
    predicted(model, rows(1))
    assert not is_quick(model)
    runtime.row_s = 0.00005
    await executor.predict(model, rows(ROWS_INLINE))  # under load what waited comes at once, and takes over 3 ms
    assert is_quick(model, rows(3))
    assert not is_quick(model, rows(ROWS_INLINE))


async def test_models_that_hang_hold_up_no_other(executor: Executor, compiled: VerifiedModel) -> None:
    hanging = [Hanging() for _ in range(OTHERS_AT_ONCE - 1)]
    assert len(hanging) > THREADS_BEFORE
    asked = [asyncio.create_task(executor.predict(running(compiled, one, "sklearn"), rows(1))) for one in hanging]
    await until(lambda: all(one.begun.is_set() for one in hanging), "all that hang")
    async with asyncio.timeout(10):
        assert len((await executor.predict(compiled, rows(1000))).values) == 1000
        assert len((await executor.predict(running(compiled, Busy(0), "sklearn"), rows(1000))).values) == 1000
        assert await executor.run(len, "body") == 4
    for one in hanging:
        one.released.set()
    await asyncio.gather(*asked)


async def test_of_a_model_whose_last_request_was_given_up_nothing_stays(
    executor: Executor, compiled: VerifiedModel
) -> None:
    slow = Hanging()
    model = running(compiled, slow, "sklearn")
    gone = weakref.ref(model)
    asking = asyncio.create_task(executor.predict(model, rows(1)))
    await until(slow.begun.is_set, "the prediction")
    asking.cancel()
    await asyncio.wait([asking])
    del asking, model
    slow.released.set()
    await until(lambda: gone() is None, "the model to be gone")


async def test_a_slow_model_refuses_what_is_too_much_for_it_alone(executor: Executor, compiled: VerifiedModel) -> None:
    slow = Hanging()
    model = running(compiled, slow, "sklearn")
    asked = [asyncio.create_task(executor.predict(model, rows(1))) for _ in range(REQUESTS_PER_MODEL)]
    assert await asyncio.to_thread(slow.begun.wait, 10)
    with pytest.raises(OverloadedError, match="wait for this model"):
        await executor.predict(model, rows(1))
    assert (await executor.predict(compiled, rows(1))).values == [1.0]
    slow.released.set()
    assert all(answer.values == [0.0] for answer in await asyncio.gather(*asked))


async def test_who_asks_too_much_of_a_slow_model_is_told_when_to_ask_again(tmp_path: Path) -> None:
    predictor = Predictor(tmp_path, max_waiting=1)
    slow = Hanging()
    champion = predictor.serve("slow", bundles.regressor(tmp_path, 1.0))
    predictor.slots.of("slow").champion = replace(champion, verified=running(champion.verified, slow, "sklearn"))
    predictor.serve("quick", bundles.regressor(tmp_path, 2.0))
    async with predictor.client as client:
        asked = asyncio.create_task(client.post("/models/slow/predict", json={"x": 1}))
        assert await asyncio.to_thread(slow.begun.wait, 10)
        refused = await client.post("/models/slow/predict", json={"x": 1})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert (await client.post("/models/quick/predict", json={"x": 1})).status_code == 200
        slow.released.set()
        assert (await asked).status_code == 200
    predictor.executor.close()
