"""`GET /models`, `/health`, `/ready` and `/metrics`: what this worker serves and how it is."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from services.predictor.meters import CONTENT_TYPE, Meters
from services.predictor.routes.answers import answer
from services.predictor.routes.openapi import VERSION, Document
from services.predictor.routes.operations import told
from services.predictor.slot import Champion, Slot, Slots
from services.predictor.status import Status
from shared.events import ModelPromoted


class State:
    """What is told about the worker."""

    def __init__(self, slots: Slots, meters: Meters, status: Callable[[], Status]) -> None:
        self._slots = slots
        self._meters = meters
        self._status = status

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/models", self.models),
            Route("/models/{model:path}", self.model),
            Route("/health", self.health),
            Route("/ready", self.ready),
            Route("/metrics", self.metrics),
            Route("/ping", self.ping),
            Route("/version", self.version),
        ]

    def schemas(self) -> Document:
        """Return no schemas: what is told has no fixed form."""
        return {}

    def fixed(self, _: Champion | None) -> Document:
        """Describe its routes."""
        return {
            "/models": told("Every model that was heard of, and who answers for it"),
            "/health": told("Whether this worker lives, and how many of the predictor's workers are ready"),
            "/metrics": told("What all workers of this predictor counted, for Prometheus", text=True),
            "/ping": told("MLflow scoring: whether this worker serves", text=True, on503="Not yet, or not any more."),
            "/version": told("MLflow scoring: the version of this server", text=True),
            "/ready": told("Whether this worker serves what is champion", on503="Not yet, or not any more."),
        }

    def of_model(self, path: str, champion: Champion) -> Document:
        """Describe a model's own path."""
        return {f"/models/{path}": told(f"Who answers for {champion.model}", on404="No such model is known here.")}

    async def models(self, _: Request) -> Response:
        """Every model that was heard of, and who answers for it."""
        known = [Known.of(self._slots.of(model)) for model in self._slots.models]
        return await asyncio.to_thread(_answer, self._status().worker, known)

    async def model(self, request: Request) -> Response:
        """One model, and who answers for it."""
        model = request.path_params["model"]
        return answer(_described(Known.of(self._slots.known(model))))

    async def health(self, _: Request) -> Response:
        """Whether this worker lives, and how many of the predictor's workers are ready."""
        now = self._status()
        ready = await asyncio.to_thread(now.count_ready)
        counts = {"workers_ready": ready, "workers_expected": now.workers_expected}
        return answer({"status": "ok", "worker": now.worker} | counts)

    async def ready(self, _: Request) -> Response:
        """Whether this worker serves what is champion: 200, or 503 with what is missing."""
        now = self._status()
        body = {"ready": now.ready, "bus": now.bus, "models": self._slots.served}
        return answer(body, 200 if now.ready else 503)

    async def metrics(self, _: Request) -> Response:
        """Tell what all workers of this predictor counted, in Prometheus's text format."""
        return Response(await asyncio.to_thread(self._meters.exposed), media_type=CONTENT_TYPE)

    async def ping(self, _: Request) -> Response:
        """Whether this worker serves, in MLflow's words."""
        return PlainTextResponse("\n", 200 if self._status().ready else 503)

    async def version(self, _: Request) -> Response:
        """Tell the version of this server."""
        return PlainTextResponse(VERSION)


class Known(NamedTuple):
    """What is known of a model at one moment."""

    model: str
    champion: Champion | None
    unloaded: ModelPromoted | None
    problem: str | None

    @classmethod
    def of(cls, slot: Slot) -> "Known":
        """Return what is known now."""
        return cls(slot.model, slot.champion, slot.unloaded, slot.problem)


def _answer(worker: int, known: list[Known]) -> Response:
    return answer({"worker": worker, "models": [*map(_described, known)]})


def _described(known: Known) -> dict[str, Any]:
    problem = {} if known.problem is None else {"problem": known.problem}
    if known.champion is not None:
        return {"model": known.model, **_of_loaded(known.champion), **problem}
    if (unloaded := known.unloaded) is not None:
        said = unloaded.model_dump(include={"version", "generation", "ledger"})
        return {"model": known.model, **said, "loaded": False, "digest": unloaded.bundle.digest, **problem}
    return {"model": known.model, "version": None, **problem}


def _of_loaded(champion: Champion) -> dict[str, Any]:
    manifest = champion.verified.manifest
    return {
        "version": champion.version,
        "generation": champion.generation,
        "ledger": champion.ledger,
        "loaded": True,
        "since": champion.since.isoformat(),
        "digest": champion.digest,
        "runtime": manifest.runtime,
        "runtime_reason": manifest.runtime_reason,
        "inputs": [column.model_dump(exclude_none=True) for column in manifest.inputs],
        "output": manifest.output.model_dump(),
    }
