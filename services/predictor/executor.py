"""Where predictions run: fast ones where they are asked for, all others in threads, so that none holds up the loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from services.predictor.lane import Lane
from shared.bundle import Columns, count
from shared.errors import PredictionError
from shared.runtime import Prediction
from shared.verification import VerifiedModel

ROWS_INLINE = 64  # a compiled model answers so many rows in about a millisecond
THREADS = 4  # a model that hangs holds up itself, not the others

P = ParamSpec("P")
T = TypeVar("T")


class Executor:
    """Compiled models answer few rows on the loop; scikit-learn's requests are batched, one lane per model."""

    def __init__(self, max_batch_rows: int = 1000) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="predict")
        self._max_batch_rows = max_batch_rows
        self._lanes: dict[int, Lane] = {}

    async def predict(self, model: VerifiedModel, columns: Columns) -> Prediction:
        """Answer for each row; raise `PredictionError` if the model fails on them."""
        if is_quick(model, columns):
            return predicted(model, columns)
        if is_quick(model):
            return await self.run(predicted, model, columns)
        lane = self._lane(model)
        try:
            return await lane.predict(columns)
        finally:
            if lane.is_idle and self._lanes.get(id(model)) is lane:
                del self._lanes[id(model)]

    def _lane(self, model: VerifiedModel) -> Lane:
        """Return a model's lane. A lane holds its model, so the model's id is its own as long as the lane is kept."""
        if (lane := self._lanes.get(id(model))) is None:
            # Other flavors are anybody's code: a row's answer may depend on the rows beside it.
            rows = self._max_batch_rows if model.manifest.runtime == "sklearn" else 1
            lane = self._lanes[id(model)] = Lane(lambda columns: self.run(predicted, model, columns), rows)
        return lane

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args, **kwargs))

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def is_quick(model: VerifiedModel, columns: Columns | None = None) -> bool:
    """Tell whether an answer takes so little that it is made where it is asked for: for some rows, or for any."""
    return model.manifest.runtime == "onnx" and (columns is None or count(columns) <= ROWS_INLINE)


def predicted(model: VerifiedModel, columns: Columns) -> Prediction:
    """Ask a model; raise `PredictionError` for whatever it raises."""
    try:
        return model.runtime.predict(columns)
    except MemoryError:
        raise
    except Exception as error:
        raise PredictionError(f"the model fails on these rows: {type(error).__name__}: {error}") from error
