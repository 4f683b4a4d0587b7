"""What routes answer with: JSON made by orjson, and the status of each foreseen error."""

from typing import Any

import orjson
from fastapi import FastAPI, Request
from starlette.responses import Response

from shared.errors import AmbiguousModelError, BatonError, InputError, NoChampionError, UnknownModelError

STATUSES: dict[type[BatonError], int] = {
    UnknownModelError: 404,
    AmbiguousModelError: 409,
    InputError: 422,
    NoChampionError: 503,
}


class TooLargeError(BatonError):
    """The body is larger than this predictor takes."""


class NotJsonError(BatonError):
    """The body is not JSON."""


STATUSES |= {TooLargeError: 413, NotJsonError: 400}


def answer(content: Any, status: int = 200) -> Response:
    """Return a JSON response; NumPy values are written as they are."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    return Response(body, status, media_type="application/json")


async def read_json(request: Request, limit: int) -> Any:
    """Read a body of at most `limit` bytes as JSON."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLargeError(f"the body has more than {limit} bytes, the most that is taken")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotJsonError(f"the body is not JSON: {error}") from error


def handle_errors(app: FastAPI) -> None:
    """Turn each foreseen error into its status; what is not foreseen stays a 500."""

    async def on_error(_: Request, error: Exception) -> Response:
        if isinstance(error, InputError):
            return answer({"detail": error.faults, "message": str(error)}, 422)
        return answer({"detail": str(error)}, STATUSES.get(type(error), 500))  # type: ignore[arg-type]

    for kind in STATUSES:
        app.add_exception_handler(kind, on_error)
