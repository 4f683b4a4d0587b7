"""OpenAPI of this worker: its fixed routes, and those of each loaded model with the model's real fields."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from services.predictor.routes.answers import answer
from services.predictor.slot import Champion, Slots
from shared.errors import BatonError

Document = dict[str, Any]
VERSION = "0.1.0"
INFO = {
    "title": "Baton predictor",
    "version": VERSION,
    "description": "Predictions by the champion of each model; every answer names the version that made it.",
}
PAGE = """<!doctype html><title>Baton predictor</title>
<link rel="stylesheet" href="https://cdn.jsdelivr.net/npm/swagger-ui-dist@5/swagger-ui.css">
<div id="ui"></div><script src="https://cdn.jsdelivr.net/npm/swagger-ui-dist@5/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "openapi.json", dom_id: "#ui"})</script>"""


class Described(Protocol):
    """A part of the interface that can tell about itself."""

    def schemas(self) -> Document:
        """Return the schemas that its operations name."""

    def fixed(self, champion: Champion | None) -> Document:
        """Return its paths that are always there; `champion` answers where a request names no model."""

    def of_model(self, path: str, champion: Champion) -> Document:
        """Return its paths below that of a model, `path` being the model's name as it is written in one."""


class OpenApi:
    """The document; made again only when somebody asks for it after a swap."""

    def __init__(self, slots: Slots, parts: Sequence[Described]) -> None:
        self._slots = slots
        self._parts = parts
        self._described: list[tuple[str, str, int] | str] | None = None
        self._response = Response()

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [Route("/openapi.json", self.as_json), Route("/docs", self.page)]

    async def as_json(self, _: Request) -> Response:
        """Answer the document of what is served now."""
        champions, unloaded = self._slots.champions, [model for model, _ in self._slots.unloaded]
        described: list[tuple[str, str, int] | str] = [
            *((each.model, each.ledger, each.generation) for each in champions),
            *unloaded,
        ]
        if described != self._described:  # hundreds of models take a tenth of a second
            self._response = await asyncio.to_thread(self._made, champions, self._default(), _info(unloaded))
            self._described = described
        return self._response

    async def page(self, _: Request) -> Response:
        """Answer a page to browse the document."""
        return HTMLResponse(PAGE)

    def _made(self, champions: Sequence[Champion], default: Champion | None, info: Document) -> Response:
        schemas: Document = {}
        paths: Document = {}
        for part in self._parts:
            schemas |= part.schemas()
            paths |= part.fixed(default)
            for champion in champions:
                paths |= part.of_model(quote(champion.model, safe=""), champion)
        return answer({"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": schemas}})

    def _default(self) -> Champion | None:
        try:
            return self._slots.default()
        except BatonError:
            return None


def _info(unloaded: Sequence[str]) -> Document:
    """Say what is described, and of which models it will be once somebody has asked for them."""
    if not unloaded:
        return INFO
    more = f"Not loaded yet, and described once they were asked for: {', '.join(unloaded)}."
    return INFO | {"description": f"{INFO['description']} {more}"}
