"""What was in production when, and why."""

from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, HTTPException, Query
from pydantic import AwareDatetime

from services.promoter.ledger.records import Records

CLOCKS_DIFFER = timedelta(minutes=1)  # whoever asks for now may be a little ahead


def make_router(ledger: Records) -> APIRouter:
    """Return the routes that answer from the ledger."""
    router = APIRouter(tags=["records"])

    @router.get("/models/{model:path}/history")
    async def history(model: str, limit: int = Query(default=100, ge=1, le=1000)) -> list[dict[str, Any]]:
        """Every change of a model's champion, newest first, each with the decision behind it."""
        rows = await ledger.history(model, limit)
        if not rows:
            raise HTTPException(404, f"no champion of {model} was ever recorded: promote a version first")
        return rows

    @router.get("/decisions/{identity}")
    async def decision(identity: str) -> dict[str, Any]:
        """One decision, by its own id or its request's: verdict, reason, what each rule said, both models' metrics."""
        found = await ledger.decision(identity)
        if found is None:
            raise HTTPException(404, f"there is no decision {identity}, and none on a request of that id")
        return found

    @router.get("/audit")
    async def audit(at: AwareDatetime) -> dict[str, Any]:
        """Each model's champion at an instant (ISO 8601 with its zone), and why it was."""
        if at > datetime.now(UTC) + CLOCKS_DIFFER:
            raise HTTPException(422, f"at: {at.isoformat()} is in the future; the ledger knows the past only")
        return {"at": at, "models": await ledger.audit(at)}

    return router
