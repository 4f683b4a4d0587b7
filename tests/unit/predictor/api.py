"""The HTTP interface over real slots and tiny real bundles."""

import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np

from services.predictor.executor import ROWS_INLINE, Executor
from services.predictor.gate import Gate
from services.predictor.meters import Meters
from services.predictor.routes.api import make_api
from services.predictor.settings import PredictorSettings
from services.predictor.slot import Champion, Slots
from services.predictor.status import Status
from shared.bundle import Columns, count
from shared.errors import NotLoadedError
from shared.keys import Keys
from shared.runtime import Prediction
from shared.verification import verify

READY = Status(worker=1, count_ready=lambda: 2, workers_expected=2, ready=True, bus="connected")


class PausedRuntime:
    """Answers when it is let go, and knows in which thread."""

    def __init__(self) -> None:
        self.begun, self.released = threading.Event(), threading.Event()
        self.thread = threading.current_thread()

    def predict(self, columns: Columns) -> Prediction:
        self.thread = threading.current_thread()
        self.begun.set()
        assert self.released.wait(30)  # longer than any test waits for what is to happen meanwhile
        return Prediction([1] * count(columns), np.array([[0.0, 1.0]] * count(columns)))


class Predictor:
    """Slots to fill, a status to set, and a client to ask with."""

    def __init__(
        self,
        folder: Path,
        request_timeout_s: float = 30.0,
        keys: Keys | None = None,
        max_body_bytes: int = 10_000,
        max_waiting: int = 64,
    ) -> None:
        self.folder = folder
        self.slots = Slots()
        self.status = READY
        self.executor = Executor(max_waiting=max_waiting)
        self.gate = Gate(limit=8)
        settings = PredictorSettings(
            max_rows=ROWS_INLINE + 1, max_body_bytes=max_body_bytes, request_timeout_s=request_timeout_s
        )
        self.api = make_api(
            self.slots,
            self.executor,
            self.gate,
            Meters(),
            settings=settings,
            keys=keys,
            status=lambda: self.status,
            load=lambda model: self.load(model),  # noqa: PLW0108 - tests replace it
        )
        transport = httpx.ASGITransport(self.api)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://predictor")

    async def load(self, model: str) -> Champion:
        """Serve a champion that is not loaded yet; a test puts its own here."""
        raise NotLoadedError(model)

    def serve(self, model: str, bundle: tuple[Path, str], version: str = "1", *, quick: bool = False) -> Champion:
        """Serve a bundle; `quick` has a row of it known to cost nothing, whatever else the machine did meanwhile."""
        archive, digest = bundle
        verified = verify(archive, self.folder / "unpacked", digest)
        if quick:
            verified = replace(verified, row_s=0.0)
        champion = Champion(model, version, int(version), "l", digest, verified, datetime.now(UTC))
        self.slots.of(model).swap(champion)
        return champion

    def serve_paused(self, model: str, bundle: tuple[Path, str], version: str = "1") -> PausedRuntime:
        """Serve a model in scikit-learn's runtime that answers when it is let go."""
        champion, paused = self.serve(model, bundle, version), PausedRuntime()
        manifest = champion.verified.manifest.model_copy(update={"runtime": "sklearn"})
        verified = replace(champion.verified, runtime=paused, manifest=manifest)
        self.slots.of(model).champion = replace(champion, verified=verified)
        return paused
