"""The events to browse: AsyncAPI of all services."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse
from faststream.specification import Specification, get_asyncapi_html


@dataclass(frozen=True)
class Document:
    """An AsyncAPI document as text, in the form that FastStream's page asks for."""

    title: str
    text: str

    def to_json(self) -> str:
        """Return the document as JSON."""
        return self.text


def make_router(own: Specification, all_services: Path) -> APIRouter:
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
