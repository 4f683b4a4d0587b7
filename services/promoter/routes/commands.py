"""Commands by hand: what `baton promote` and its like ask for over NATS, over HTTP."""

from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from services.promoter.commands import Commands
from shared.events import Action, PromotionRequested

REFUSED, NOT_YET = 409, 202
RESPONSES: dict[int | str, dict[str, Any]] = {
    NOT_YET: {"description": "Published; nobody decided yet: ask `/decisions/{request_id}`."},
    REFUSED: {"description": "Refused; `reason` is one sentence."},
    504: {"description": "A part behind the promoter is away."},
}


class Command(BaseModel):
    """Who asks, and why."""

    model_config = ConfigDict(extra="forbid")

    actor: str = Field(min_length=1, max_length=200, examples=["ann"])
    reason: str = Field(default="", max_length=2000)


class VersionCommand(Command):
    """A command on a version: a number, or empty for what the command finds by itself."""

    version: str = Field(default="", pattern=r"^[0-9]{0,9}$", examples=["3"])


class PromoteCommand(Command):
    """A promotion; without a version, or with `auto`, the policy judges the best one."""

    version: str = Field(default="auto", pattern=r"^(auto|[0-9]{0,9})$", examples=["3"])


async def give(commands: Commands, response: Response, model: str, action: Action, body: Command) -> dict[str, Any]:
    """Give a command and return the decision on it, or its id alone where nobody decided in time."""
    answer = await commands.give(model, PromotionRequested(action=action, **body.model_dump()))
    if answer.decided is None:
        response.status_code = NOT_YET
        return {"request_id": answer.request_id}
    response.status_code = REFUSED if answer.decided.verdict == "refused" else 200
    return answer.decided.model_dump(mode="json")


def make_router(commands: Commands) -> APIRouter:
    """Return the routes that publish `promotion.requested` and answer with the decision.

    200 with what was decided, 409 when it was refused, 202 when nobody decided in time.
    """
    router = APIRouter(tags=["commands"], responses=RESPONSES)

    @router.post("/models/{model:path}/promote")
    async def promote(response: Response, model: str, body: PromoteCommand) -> dict[str, Any]:
        """Make a version the champion; without one, the policy judges the best."""
        return await give(commands, response, model, "promote", body)

    @router.post("/models/{model:path}/approve")
    async def approve(response: Response, model: str, body: VersionCommand) -> dict[str, Any]:
        """Carry out what the policy left to a person: the newest such decision, or the one on `version`."""
        return await give(commands, response, model, "approve", body)

    @router.post("/models/{model:path}/rollback")
    async def rollback(response: Response, model: str, body: VersionCommand) -> dict[str, Any]:
        """Go back to the champion before, or to `version`, and freeze the model."""
        return await give(commands, response, model, "rollback", body)

    @router.post("/models/{model:path}/unfreeze")
    async def unfreeze(response: Response, model: str, body: Command) -> dict[str, Any]:
        """Let the policy promote versions of the model again."""
        return await give(commands, response, model, "unfreeze", body)

    return router
