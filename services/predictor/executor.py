"""Where predictions run: fast ones where they are asked for, slow ones in a thread, so that none holds up the loop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from shared.bundle import Columns
from shared.runtime import Prediction
from shared.verification import VerifiedModel

ROWS_INLINE = 64  # a compiled model answers so many rows in well under a millisecond


class Executor:
    """One thread per worker: scikit-learn's predictions hold the interpreter's lock and gain nothing from more."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="predict")

    async def predict(self, model: VerifiedModel, columns: Columns) -> Prediction:
        """Answer for each row."""
        rows = len(next(iter(columns.values())))
        if model.manifest.runtime == "onnx" and rows <= ROWS_INLINE:
            return model.runtime.predict(columns)
        return await asyncio.get_running_loop().run_in_executor(self._thread, model.runtime.predict, columns)

    def close(self) -> None:
        """Finish what runs."""
        self._thread.shutdown()
