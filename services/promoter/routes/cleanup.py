"""Cleanup over HTTP: what would go, and the command."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from services.promoter.cleanup import Cleanup
from services.promoter.commands import Commands
from services.promoter.routes.commands import RESPONSES, Command, give


class CleanupCommand(Command):
    """A cleanup: how many of the newest versions to keep."""

    keep: int = Field(ge=1, examples=[10])


def make_router(commands: Commands, cleanup: Cleanup) -> APIRouter:
    """Return the routes of cleanups."""
    router = APIRouter(tags=["commands"])

    @router.post("/models/{model:path}/cleanup", responses=RESPONSES)
    async def clean_up(response: Response, model: str, body: CleanupCommand) -> dict[str, Any]:
        """Delete all but the newest versions, none that is needed, and the bundles that no other version has."""
        return await give(commands, response, model, "cleanup", body)

    @router.get("/models/{model:path}/cleanup")
    async def what_would_go(model: str, keep: int = Query(ge=1)) -> dict[str, Any]:
        """Say what a cleanup would delete, and which of the older versions it would keep for what reason."""
        return asdict(await cleanup.plan(model, keep))

    return router
