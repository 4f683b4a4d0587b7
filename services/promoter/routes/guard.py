"""What every request has to pass: a host that is meant, a body that is small and JSON, a token where one is needed."""

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from services.promoter.routes.errors import refused
from services.promoter.settings import PromoterSettings
from shared.guard import Guard
from shared.keys import Keys

OPEN = {"/health", "/metrics"}
READS = {"GET", "HEAD", "OPTIONS"}
MOST_BYTES = 65_536


class PlainCommands:
    """An ASGI application around another: what is no read has a body of JSON of a length that is told and small.

    A page that a browser shows can send no JSON elsewhere without asking first, and is never told that it may.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or say what is wrong with it."""
        app = self._app
        if scope["type"] == "http" and scope["method"] not in READS and (fault := _fault(Headers(scope=scope))):
            status, detail = fault
            app = JSONResponse({"detail": detail}, status, {"connection": "close"})
        await app(scope, receive, send)


def _fault(headers: Headers) -> tuple[int, str] | None:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return 415, "commands are JSON: send content-type application/json"
    length = headers.get("content-length", "")
    if not length.isdecimal():
        return 411, "send the body with its content-length"
    return (413, f"the body has more than {MOST_BYTES} bytes") if int(length) > MOST_BYTES else None


def guard(app: FastAPI, settings: PromoterSettings, tokens: Keys) -> None:
    """Put the guards around an application."""

    def is_open(scope: Scope) -> bool:
        return scope["method"] in READS and (settings.reads_are_open or scope["path"] in OPEN)

    app.add_middleware(Guard, keys=tokens, is_open=is_open, refuse=refused)
    app.add_middleware(PlainCommands)
    if settings.allowed_hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=settings.allowed_hosts, www_redirect=False)
