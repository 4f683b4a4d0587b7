"""Natural batching: whoever asks while a prediction runs shares the next one, and gets the answers to its own rows."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.predictor.lane import Lane, Predict
from shared.bundle import Columns
from shared.errors import OverloadedError, PredictionError
from shared.runtime import Prediction
from tests.unit.predictor.conftest import until

BAD = -1.0


class Model:
    """Answers each row with ten times itself when it is let go; fails where a row is bad."""

    def __init__(self, *, open_: bool = False) -> None:
        self.batches: list[int] = []
        self.gate = asyncio.Semaphore(1000 if open_ else 0)

    async def predict(self, columns: Columns) -> Prediction:
        rows = columns["x"]
        self.batches.append(len(rows))
        await self.gate.acquire()
        await asyncio.sleep(0)
        if BAD in rows:
            raise PredictionError("a row is bad")
        return Prediction((rows * 10).tolist(), np.stack([rows, 1 - rows], axis=1))


def lane_of(
    predict: Predict,
    max_rows: int,
    *,
    max_waiting: int = 64,
    max_waiting_rows: int = 1000,
    ended: Callable[[], object] = lambda: None,
) -> Lane:
    return Lane(predict, max_rows, max_waiting=max_waiting, max_waiting_rows=max_waiting_rows, ended=ended)


def ask(lane: Lane, rows: Sequence[float]) -> "asyncio.Task[Prediction]":
    return asyncio.create_task(lane.predict({"x": np.array(rows)}))


async def test_who_comes_meanwhile_goes_together_in_order_and_within_the_bound() -> None:
    model, ended = Model(), asyncio.Event()
    lane = lane_of(model.predict, max_rows=5, ended=ended.set)
    asked = [ask(lane, [0.0])]
    await until(lambda: model.batches == [1], "the first prediction")
    asked += [ask(lane, [float(index)] * rows) for index, rows in enumerate([2, 3, 2, 9, 1], start=1)]
    for _ in asked:
        model.gate.release()
    answers = await asyncio.gather(*asked)
    assert model.batches == [1, 5, 2, 9, 1], "more rows than the bound only where one request has them"
    assert [answer.values for answer in answers] == [[0.0], [10.0] * 2, [20.0] * 3, [30.0] * 2, [40.0] * 9, [50.0]]
    assert [answer.probabilities.shape for answer in answers if answer.probabilities is not None] == [
        (1, 2),
        (2, 2),
        (3, 2),
        (2, 2),
        (9, 2),
        (1, 2),
    ]
    await until(ended.is_set, "an idle lane")


async def test_one_request_that_fails_does_not_fail_the_others() -> None:
    model = Model(open_=True)
    lane = lane_of(model.predict, max_rows=100)
    results = await asyncio.gather(*(ask(lane, [row]) for row in (1.0, 2.0, BAD, 3.0)), return_exceptions=True)
    assert [result.values for result in results if isinstance(result, Prediction)] == [[10.0], [20.0], [30.0]]
    assert isinstance(results[2], PredictionError)


async def test_what_nobody_foresaw_is_heard_by_who_asked_and_the_lane_goes_on() -> None:
    failing = True

    async def predict(columns: Columns) -> Prediction:
        await asyncio.sleep(0)
        if failing:
            raise MemoryError
        return Prediction(columns["x"].tolist())

    lane = lane_of(predict, max_rows=10)
    with pytest.raises(MemoryError):
        await lane.predict({"x": np.ones(1)})
    failing = False
    assert (await lane.predict({"x": np.ones(1)})).values == [1.0]


async def test_who_stops_waiting_takes_nothing_from_the_others() -> None:
    model = Model()
    lane = lane_of(model.predict, max_rows=10)
    first = ask(lane, [1.0])
    await until(lambda: model.batches == [1], "the first prediction")
    gone, last = ask(lane, [2.0]), ask(lane, [3.0])
    await asyncio.sleep(0)
    first.cancel()
    gone.cancel()
    for _ in range(3):
        model.gate.release()
    assert (await last).values == [30.0]
    assert model.batches == [1, 1]


async def test_so_many_requests_and_rows_are_inside_and_who_leaves_makes_room() -> None:
    model = Model()
    lane = lane_of(model.predict, max_rows=10, max_waiting=3, max_waiting_rows=8)
    asked = [ask(lane, [1.0] * 9)]
    await until(lambda: model.batches == [9], "a request alone, which may have more rows than may wait")
    with pytest.raises(OverloadedError, match="1 requests of 9 rows wait for this model"):
        await lane.predict({"x": np.ones(1)})
    model.gate.release()
    await asked[0]
    asked = [ask(lane, [float(index)]) for index in range(3)]
    await until(lambda: model.batches == [9, 3], "the prediction of three")
    with pytest.raises(OverloadedError, match="3 requests of 3 rows"):
        await lane.predict({"x": np.ones(1)})
    asked.pop().cancel()
    await asyncio.sleep(0)
    asked.append(ask(lane, [2.0]))
    for _ in range(2):
        model.gate.release()
    assert [answer.values for answer in await asyncio.gather(*asked)] == [[0.0], [10.0], [20.0]]


@given(
    st.lists(st.lists(st.sampled_from([0.0, 1.0, 2.0, BAD]), min_size=1, max_size=4), max_size=12), st.integers(1, 6)
)
def test_everybody_gets_the_answers_to_the_own_rows(requests: list[list[float]], max_rows: int) -> None:
    async def run() -> None:
        model = Model(open_=True)
        lane = lane_of(model.predict, max_rows)
        results = await asyncio.gather(*(ask(lane, rows) for rows in requests), return_exceptions=True)
        for rows, result in zip(requests, results, strict=True):
            if BAD in rows:
                assert isinstance(result, PredictionError)
            else:
                assert isinstance(result, Prediction)
                assert result.values == [row * 10 for row in rows]
        assert all(size <= max_rows or size in map(len, requests) for size in model.batches)
        assert not any(one == 0 for one, _ in pairwise(model.batches))

    asyncio.run(run())
