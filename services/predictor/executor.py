"""Where predictions run: fast ones where they are asked for, all others in threads, so that none holds up the loop."""

import weakref
from collections.abc import Callable
from functools import partial
from time import perf_counter, thread_time
from typing import ParamSpec, TypeVar

from services.predictor.lane import Lane
from services.predictor.threads import Threads
from shared.bundle import Columns, count
from shared.errors import PredictionError
from shared.runtime import Prediction
from shared.verification import VerifiedModel

ROWS_INLINE = 64  # the most that are answered on the loop, however quick the model
INLINE_S = 0.0005  # the longest that an answer may take there: others wait, but a thread costs a request as much
TOO_LONG_S = 0.005  # what took so long there is timed anew; a busy machine alone takes a part of that
THREADS = 4  # for bodies, and as many for compiled models: whatever runs in these ends
OTHERS_AT_ONCE = 16  # other models, which are Python and may hang: so many must hang before another one waits for them
REQUESTS_PER_MODEL = 64  # well below what a worker takes, so that one slow model leaves room to the others
BATCHES_PER_MODEL = 10  # of rows that wait for one model

P = ParamSpec("P")
T = TypeVar("T")

_inline_rows: dict[int, int] = {}
"""How many rows a model, by its id, is known to answer within `INLINE_S`: at first from its verification."""


class Executor:
    """Compiled models answer on the loop what takes them no time; whatever else is batched, one lane per model."""

    def __init__(self, max_batch_rows: int = 1000, max_waiting: int = REQUESTS_PER_MODEL) -> None:
        self._threads = Threads(THREADS, "body")
        self._compiled = Threads(THREADS, "predict-compiled")
        self._others = Threads(OTHERS_AT_ONCE, "predict")
        self._max_batch_rows = max_batch_rows
        self._max_waiting = max_waiting
        self._lanes: dict[int, Lane] = {}

    async def predict(self, model: VerifiedModel, columns: Columns) -> Prediction:
        """Answer for each row.

        Raise `PredictionError` if the model fails on them, `OverloadedError` if too many wait for it.
        """
        if is_quick(model, columns):
            return predicted(model, columns)
        return await self._lane(model).predict(columns)

    def _lane(self, model: VerifiedModel) -> Lane:
        """Return a model's lane, kept until it ends. It holds its model, whose id is its own as long."""
        if (lane := self._lanes.get(id(model))) is None:
            # Other flavors are anybody's code: a row's answer may depend on the rows beside it.
            rows = 1 if model.manifest.runtime == "pyfunc" else self._max_batch_rows
            lane = self._lanes[id(model)] = Lane(
                partial(self._predicted, model),
                rows,
                max_waiting=self._max_waiting,
                max_waiting_rows=BATCHES_PER_MODEL * self._max_batch_rows,
                ended=partial(self._lanes.pop, id(model), None),
            )
        return lane

    async def _predicted(self, model: VerifiedModel, columns: Columns) -> Prediction:
        if model.manifest.runtime == "onnx":
            return await self._compiled.run(_timed, model, columns)
        return await self._others.run(_answer, model, columns)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read or write a body in a thread."""
        return await self._threads.run(work, *args, **kwargs)

    def close(self) -> None:
        """Begin nothing more."""
        for threads in (self._threads, self._compiled, self._others):
            threads.close()


def is_quick(model: VerifiedModel, columns: Columns | None = None) -> bool:
    """Tell whether an answer takes so little that it is made where it is asked for: for some rows, or for any."""
    if (rows := _inline_rows.get(id(model))) is None:
        rows = _note(model, _fit(1, model.row_s) if model.manifest.runtime == "onnx" else 0)
    return (1 if columns is None else count(columns)) <= rows


def predicted(model: VerifiedModel, columns: Columns) -> Prediction:
    """Ask a quick model on the loop; raise `PredictionError` for whatever it raises."""
    started = perf_counter()
    try:
        return _answer(model, columns)
    finally:
        if (took := perf_counter() - started) > TOO_LONG_S:
            _learn(model, count(columns), took)


def _timed(model: VerifiedModel, columns: Columns) -> Prediction:
    """Ask a compiled model, and learn what it costs: processor time, for others may have the processor meanwhile."""
    started = thread_time()
    prediction = _answer(model, columns)
    _learn(model, count(columns), thread_time() - started)
    return prediction


def _learn(model: VerifiedModel, rows: int, took_s: float) -> None:
    """Note what rows cost, each the same share of it.

    Many rows may share what one alone would take as well. So of a model whose row is not known to be quick from its
    verification, a call that was not quick never raises what is known.
    """
    fit = _fit(rows, took_s)
    if took_s > INLINE_S and model.row_s > INLINE_S:
        fit = min(fit, _inline_rows.get(id(model), 0))
    _note(model, fit)


def _fit(rows: int, took_s: float) -> int:
    return min(int(rows * INLINE_S / max(took_s, 1e-9)), ROWS_INLINE)


def _note(model: VerifiedModel, rows: int) -> int:
    key = id(model)
    if key not in _inline_rows:
        weakref.finalize(model, _inline_rows.pop, key, None)
    _inline_rows[key] = rows
    return rows


def _answer(model: VerifiedModel, columns: Columns) -> Prediction:
    try:
        return model.runtime.predict(columns)
    except MemoryError:
        raise
    except Exception as error:
        raise PredictionError(f"the model fails on these rows: {type(error).__name__}: {error}") from error
