"""The status of each foreseen error."""

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from shared.errors import BatonError, UnreachableError


def handle_errors(app: FastAPI) -> None:
    """Answer 504 when a part behind the promoter is away, 502 when it refused; the unforeseen stays a 500."""

    async def on_error(_: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, 504 if isinstance(error, UnreachableError) else 502)

    app.add_exception_handler(BatonError, on_error)
