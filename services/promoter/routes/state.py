"""What is so now: who serves what, what waits to be published or approved, whether this promoter works."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Response

from services.promoter.fleet import Fleet
from services.promoter.relay import Relay
from services.promoter.status import Status


def make_router(fleet: Fleet, relay: Relay, status: Status, is_working: Callable[[], bool]) -> APIRouter:
    """Return the routes that say how things are."""
    router = APIRouter(tags=["state"])

    @router.get("/health")
    async def health(response: Response) -> dict[str, str]:
        """200 when events are consumed and promotions relayed, 503 otherwise."""
        working = is_working()
        response.status_code = 200 if working else 503
        return {"status": "ok" if working else "not connected to NATS"}

    @router.get("/capture")
    async def captured() -> dict[str, Any]:
        """How changes of champions are captured, and the last errors of that, newest first.

        A change that one of them kept from being captured is captured by the reconciler, within BATON_RECONCILE_S.
        """
        return await status.capture()

    @router.get("/fleet")
    async def workers() -> list[dict[str, Any]]:
        """Each predictor's workers with the versions that they serve; `lost` are those that fell silent."""
        return fleet.workers()

    @router.get("/relay")
    async def waiting() -> list[dict[str, Any]]:
        """Each model with changes that are not on the bus: how many, since when, and what they wait for.

        `waiting` is null while a change is on its way, or where another promoter relays.
        """
        return await relay.backlog()

    @router.get("/models")
    async def models() -> dict[str, Any]:
        """Every model that MLflow knows: champion, generation, frozen, what awaits approval."""
        return {"models": await status.models()}

    @router.get("/status")
    async def overview() -> dict[str, Any]:
        """Each predictor's workers with how far they lag behind the ledger; each model with what it waits for."""
        return await status.overview()

    return router
