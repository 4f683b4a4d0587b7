"""HTTP: what was in production when, and why; who serves what now; the events, to browse."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fastapi import APIRouter, HTTPException, Query, Response
from fastapi.responses import HTMLResponse
from faststream.specification import Specification, get_asyncapi_html

from services.promoter.fleet import Fleet
from services.promoter.records import Records
from services.promoter.relay import Relay


def records(ledger: Records) -> APIRouter:
    """Return the routes that answer from the ledger."""
    router = APIRouter(tags=["records"])

    @router.get("/models/{model:path}/history")
    async def history(model: str, limit: int = Query(default=100, ge=1, le=1000)) -> list[dict[str, Any]]:
        """Every change of a model's champion, newest first, each with the decision behind it."""
        rows = await ledger.history(model, limit)
        if not rows:
            raise HTTPException(404, f"no champion of {model} was ever recorded: promote a version first")
        return rows

    @router.get("/decisions/{decision}")
    async def decision(decision: str) -> dict[str, Any]:
        """One decision: verdict, reason, what each rule said, both models' metrics."""
        found = await ledger.decision(decision)
        if found is None:
            raise HTTPException(404, f"there is no decision {decision}")
        return found

    return router


def state(fleet: Fleet, is_working: Callable[[], bool]) -> APIRouter:
    """Return the routes that answer from memory."""
    router = APIRouter(tags=["state"])

    @router.get("/health")
    async def health(response: Response) -> dict[str, str]:
        """200 when events are consumed and promotions relayed, 503 otherwise."""
        working = is_working()
        response.status_code = 200 if working else 503
        return {"status": "ok" if working else "not connected to NATS"}

    @router.get("/fleet")
    async def workers() -> list[dict[str, Any]]:
        """Each predictor's workers with the versions that they serve."""
        return fleet.workers()

    return router


def backlog(relay: Relay) -> APIRouter:
    """Return the route that says what waits to be published."""
    router = APIRouter(tags=["state"])

    @router.get("/relay")
    async def waiting() -> list[dict[str, Any]]:
        """Each model with changes that are not on the bus: how many, since when, and what they wait for.

        `waiting` is null while a change is on its way, or where another promoter relays.
        """
        return await relay.backlog()

    return router


@dataclass(frozen=True)
class Document:
    """An AsyncAPI document as text, in the form that FastStream's page asks for."""

    title: str
    text: str

    def to_json(self) -> str:
        """Return the document as JSON."""
        return self.text


def events(own: Specification, all_services: Path) -> APIRouter:
    """Return the AsyncAPI document, as JSON and as a page: of all services where that file exists, else of this one."""
    router = APIRouter(tags=["events"])

    def document() -> Document:
        text = all_services.read_text(encoding="utf-8") if all_services.is_file() else own.to_json()
        return Document("Baton", text)

    @router.get("/asyncapi.json")
    def as_json() -> Response:
        return Response(document().to_json(), media_type="application/json")

    @router.get("/asyncapi")
    def as_page() -> HTMLResponse:
        return HTMLResponse(get_asyncapi_html(cast("Specification", document()), try_it_out_path=None))

    return router
