"""What routes answer with: JSON made by orjson, and the status of each foreseen error."""

from typing import Any

import orjson
from starlette.responses import Response

from services.predictor.routes.protocol import Call
from shared.errors import (
    AmbiguousModelError,
    BatonError,
    InputError,
    NoChampionError,
    NotLoadedError,
    NotServedError,
    OverdueError,
    OverloadedError,
    PredictionError,
    UnauthorizedError,
    UnknownModelError,
)
from shared.guard import HOW_TO_BE_LET_IN


class GoneError(BatonError):
    """The client went away before it was answered."""


class TooLargeError(BatonError):
    """The body is larger than this predictor takes."""


class TooSlowError(BatonError):
    """The body did not arrive in the time that a request may take."""


class UnreadableError(BatonError):
    """The body is not what its protocol, JSON or CSV, demands."""


class UnsupportedError(BatonError):
    """The body is of a type, or compressed in a way, that is not taken."""


STATUSES: dict[type[BatonError], int] = {
    UnreadableError: 400,
    UnauthorizedError: 401,
    UnknownModelError: 404,
    TooSlowError: 408,
    AmbiguousModelError: 409,
    TooLargeError: 413,
    UnsupportedError: 415,
    InputError: 422,
    PredictionError: 422,
    GoneError: 499,  # as nginx counts it; nobody is there to read it
    NoChampionError: 503,
    NotLoadedError: 503,
    NotServedError: 503,
    OverloadedError: 503,
    OverdueError: 504,
}
RETRY_AFTER_S = 1


def status_of(error: BatonError) -> int:
    """Return the HTTP status of an error; what is not foreseen is a 500."""
    return STATUSES.get(type(error), 500)


def headers_of(error: BatonError) -> dict[str, str]:
    """Return the headers that go with an error: when to come again, how to be let in, that the body is not read on."""
    if status_of(error) == 503:
        return {"retry-after": str(RETRY_AFTER_S)}
    if isinstance(error, UnauthorizedError):
        return HOW_TO_BE_LET_IN
    return {"connection": "close"} if isinstance(error, TooLargeError | TooSlowError) else {}


def dumped(content: Any) -> bytes:
    """Return JSON; NumPy values are written as they are, NaN as null."""
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)


def answer(content: Any, status: int = 200) -> Response:
    """Return a JSON response."""
    return Response(dumped(content), status, media_type="application/json")


def parsed(body: bytes, call: Call) -> Any:
    """Read a call's body, or a part of it, as JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise unreadable(call, f"the body is not JSON: {error}") from error


def unreadable(call: Call, why: str) -> BatonError:
    """Return the error for a body that is not what it should be: it is packed, or else `why`."""
    if packing := call.header(b"content-encoding"):
        return UnsupportedError(f"the body is packed ({packing}): send it as it is")
    return UnreadableError(why)
