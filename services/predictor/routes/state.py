"""`GET /models`, `/health` and `/ready`: what this worker serves and how it is."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from services.predictor.routes.answers import answer
from services.predictor.slot import Champion, Slots
from services.predictor.status import Status


def make_router(slots: Slots, status: Callable[[], Status]) -> APIRouter:
    """Return the routes that tell about the worker."""
    router = APIRouter(tags=["state"])

    @router.get("/models")
    async def models() -> Response:
        """Every model that was heard of, and who answers for it."""
        described = [_described(model, slots.of(model).champion) for model in slots.models]
        return answer({"worker": status().worker, "models": described})

    @router.get("/models/{model:path}", responses={404: {"description": "No such model is known here."}})
    async def model(model: str) -> Response:
        """One model, and who answers for it."""
        return answer(_described(model, slots.known(model).champion))

    @router.get("/health")
    async def health() -> Response:
        """Whether this worker lives, and how many of the predictor's workers are ready."""
        now = status()
        counts = {"workers_ready": now.workers_ready, "workers_expected": now.workers_expected}
        return answer({"status": "ok", "worker": now.worker} | counts)

    @router.get("/ready")
    async def ready() -> Response:
        """Whether this worker serves what is champion: 200, or 503 with what is missing."""
        now = status()
        body = {"ready": now.ready, "bus": now.bus, "models": [champion.model for champion in slots.champions]}
        return answer(body, 200 if now.ready else 503)

    return router


def _described(model: str, champion: Champion | None) -> dict[str, Any]:
    if champion is None:
        return {"model": model, "version": None}
    manifest = champion.verified.manifest
    return {
        "model": model,
        "version": champion.version,
        "generation": champion.generation,
        "ledger": champion.ledger,
        "since": champion.since.isoformat(),
        "digest": champion.digest,
        "runtime": manifest.runtime,
        "runtime_reason": manifest.runtime_reason,
        "inputs": [column.model_dump(exclude_none=True) for column in manifest.inputs],
        "output": manifest.output.model_dump(),
    }
