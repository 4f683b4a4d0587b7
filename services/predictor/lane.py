"""Natural batching: what arrives while a model predicts goes into its next prediction."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from shared.bundle import Columns, count
from shared.errors import OverloadedError, PredictionError
from shared.runtime import Prediction

Predict = Callable[[Columns], Awaitable[Prediction]]


@dataclass(frozen=True, eq=False)
class Waiting:
    """A request's rows, and where their answer goes."""

    columns: Columns
    answer: "asyncio.Future[Prediction]"

    @property
    def rows(self) -> int:
        """Return how many rows the request has."""
        return count(self.columns)


class Lane:
    """The requests of one model: one prediction at a time, of at most `max_rows` rows unless one request has more.

    Nobody waits for company: a request that finds the lane empty is answered at once. At most `max_waiting` requests,
    those whose prediction runs included, and `max_waiting_rows` rows are inside, unless one request alone has more.
    `ended` is called when nothing runs or waits any more.
    """

    def __init__(
        self,
        predict: Predict,
        max_rows: int,
        *,
        max_waiting: int,
        max_waiting_rows: int,
        ended: Callable[[], object] = lambda: None,
    ) -> None:
        self._predict = predict
        self._max_rows = max_rows
        self._max_waiting = max_waiting
        self._max_waiting_rows = max_waiting_rows
        self._inside = self._rows_inside = 0
        self._waiting: deque[Waiting] = deque()
        self._running: asyncio.Task[None] | None = None
        self._ended = ended

    async def predict(self, columns: Columns) -> Prediction:
        """Answer for each row; whoever stops waiting takes nothing from the others.

        Raise `OverloadedError` if too many wait for this model.
        """
        request = Waiting(columns, asyncio.get_running_loop().create_future())
        rows = request.rows
        self._check(rows)
        self._inside += 1
        self._rows_inside += rows
        self._waiting.append(request)
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        try:
            return await request.answer
        finally:
            self._inside -= 1
            self._rows_inside -= rows
            with suppress(ValueError):  # it was taken out already, unless whoever asked stopped waiting
                self._waiting.remove(request)

    def _check(self, rows: int) -> None:
        is_full = self._inside >= self._max_waiting or self._rows_inside + rows > self._max_waiting_rows
        if self._inside and is_full:
            raise OverloadedError(
                f"{self._inside} requests of {self._rows_inside} rows wait for this model, the most that are taken: "
                "ask again later"
            )

    async def _run(self) -> None:
        try:
            while self._waiting:
                if batch := self._next():
                    await self._answer(batch)
        finally:
            self._running = None
            self._ended()

    def _next(self) -> list[Waiting]:
        """Take what waits, in order, up to the bound; leave out whom nobody waits for any more."""
        batch: list[Waiting] = []
        rows = 0
        while self._waiting and (not batch or rows + self._waiting[0].rows <= self._max_rows):
            request = self._waiting.popleft()
            if not request.answer.done():
                batch.append(request)
                rows += request.rows
        return batch

    async def _answer(self, batch: list[Waiting]) -> None:
        """Answer a batch; if it fails, each request alone, so that only those fail whose own rows are the reason."""
        try:
            prediction = await self._predict(joined([request.columns for request in batch]))
        except PredictionError as error:
            if len(batch) == 1:
                _fail(batch[0], error)
            else:
                for request in batch:
                    await self._answer([request])
        except Exception as error:  # not foreseen: whoever asked hears of it, and the lane goes on
            for request in batch:
                _fail(request, error)
        else:
            _share(prediction, batch)


def joined(parts: list[Columns]) -> Columns:
    """Return the rows of several requests, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _share(prediction: Prediction, batch: list[Waiting]) -> None:
    start = 0
    for request in batch:
        end = start + request.rows
        chances = None if prediction.probabilities is None else prediction.probabilities[start:end]
        if not request.answer.done():
            request.answer.set_result(Prediction(prediction.values[start:end], chances))
        start = end


def _fail(request: Waiting, error: Exception) -> None:
    if not request.answer.done():
        request.answer.set_exception(error)
