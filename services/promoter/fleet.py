"""The fleet: which predictor's worker serves which version, as far as it was heard here."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from shared.events import ModelRejected, ModelServing, PredictorAlive

LOST_S = 600.0  # how long one that fell silent is shown


@dataclass(frozen=True)
class Serving:
    """What a worker said of a model last; it may be one that it loads for whoever asks for it first."""

    version: str
    generation: int
    loaded: bool = True


@dataclass
class Worker:
    """One worker of one predictor; `heard_at` and `silent_after` are seconds of a monotonic clock."""

    predictor: str
    worker: int
    heard_at: float
    silent_after: float
    models: dict[str, Serving] = field(default_factory=dict)
    rejected: dict[str, dict[str, Any]] = field(default_factory=dict)
    only: list[str] | None = None


class Fleet:
    """A view in memory, rebuilt from heartbeats after a restart; `clock` returns seconds and only grows.

    A worker that falls silent is lost; one that is lost for `LOST_S` seconds is forgotten.
    """

    def __init__(self, clock: Callable[[], float], patience_s: float = 30.0) -> None:
        self._clock = clock
        self._patience_s = patience_s
        self._workers: dict[tuple[str, int], Worker] = {}

    def serving(self, model: str, event: ModelServing) -> None:
        """Note that a worker serves a version; older generations of the same model are ignored."""
        worker = self._heard(event.predictor, event.worker)
        known = worker.models.get(model)
        if known is None or known.generation <= event.generation:
            worker.models[model] = Serving(event.version, event.generation)
            worker.rejected.pop(model, None)

    def rejected(self, model: str, event: ModelRejected) -> None:
        """Note that a worker could not serve a version."""
        self._heard(event.predictor, event.worker).rejected[model] = event.model_dump(
            include={"version", "generation", "check", "message"}
        )

    def alive(self, event: PredictorAlive) -> None:
        """Note a heartbeat: it says all that the worker serves."""
        worker = self._heard(event.predictor, event.worker, event.ttl_s)
        worker.only = event.only
        worker.models = {
            served.model: Serving(served.version, served.generation, served.loaded) for served in event.models
        }

    def workers(self) -> list[dict[str, Any]]:
        """Return the workers in order; `state` is `serving`, or `lost` after their time to live."""
        now = self._clock()
        self._workers = {key: worker for key, worker in self._workers.items() if worker.silent_after + LOST_S > now}
        return [_described(worker, now) for _, worker in sorted(self._workers.items())]

    def _heard(self, predictor: str, index: int, ttl_s: float | None = None) -> Worker:
        now = self._clock()
        worker = self._workers.setdefault((predictor, index), Worker(predictor, index, now, now))
        worker.heard_at = now
        worker.silent_after = max(worker.silent_after, now + (ttl_s or self._patience_s))
        return worker


def _described(worker: Worker, now: float) -> dict[str, Any]:
    return {
        "predictor": worker.predictor,
        "worker": worker.worker,
        "state": "serving" if worker.silent_after > now else "lost",
        "heard_s_ago": round(now - worker.heard_at, 3),
        "models": {model: asdict(serving) for model, serving in worker.models.items()},
        "rejected": worker.rejected,
        "only": worker.only,
    }


def takes(worker: Mapping[str, Any], model: str) -> bool:
    """Tell whether a worker, as `Fleet.workers` describes it, serves a model once it has a champion."""
    return worker["only"] is None or model in worker["only"]
