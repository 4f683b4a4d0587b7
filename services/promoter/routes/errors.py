"""The status of each foreseen error."""

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from shared.errors import BatonError, UnauthorizedError, UnreachableError
from shared.guard import HOW_TO_BE_LET_IN

BAD_GATEWAY = 502
STATUSES: dict[type[BatonError], int] = {UnauthorizedError: 401, UnreachableError: 504}


def handle_errors(app: FastAPI) -> None:
    """Answer 401 to strangers, 504 when a part behind the promoter is away, 502 when it refused.

    The unforeseen stays a 500.
    """
    app.add_exception_handler(BatonError, refused)


async def refused(_: Request, error: Exception) -> Response:
    """Return the answer to a request that ended in a foreseen error."""
    headers = HOW_TO_BE_LET_IN if isinstance(error, UnauthorizedError) else None
    status = next((status for kind, status in STATUSES.items() if isinstance(error, kind)), BAD_GATEWAY)
    return JSONResponse({"detail": str(error)}, status, headers)
