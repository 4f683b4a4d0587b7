"""The predictor's HTTP interface as a whole."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Lifespan, Scope

from services.predictor.executor import Executor
from services.predictor.gate import Gate
from services.predictor.routes.answers import answer, headers_of, status_of
from services.predictor.routes.front import Front, Target
from services.predictor.routes.native import Native
from services.predictor.routes.openapi import OpenApi
from services.predictor.routes.state import State
from services.predictor.settings import PredictorSettings
from services.predictor.slot import Slots
from services.predictor.status import Status
from shared.errors import BatonError


def make_api(
    slots: Slots,
    executor: Executor,
    gate: Gate,
    *,
    settings: PredictorSettings,
    status: Callable[[], Status],
    lifespan: Lifespan[Starlette] | None = None,
) -> Front:
    """Return an application that answers from slots; it starts nothing but what `lifespan` does."""
    native = Native(settings.max_rows)
    state = State(slots, status)
    openapi = OpenApi(slots, [native, state])
    rest = Starlette(
        routes=[*openapi.routes(), *state.routes()],
        exception_handlers={BatonError: _refused, HTTPException: _missing},  # type: ignore[dict-item]
        lifespan=lifespan,
    )

    def find(scope: Scope) -> Target | None:
        path: str = scope["path"]
        if path == "/predict":
            return Target(native)
        if path.startswith("/models/") and path.endswith("/predict"):
            return Target(native, path[len("/models/") : -len("/predict")])
        return None

    return Front(find, slots, executor, gate, settings=settings, rest=rest)


async def _refused(_: Request, error: BatonError) -> Response:
    refused = answer({"detail": str(error)}, status_of(error))
    refused.headers.update(headers_of(error))
    return refused


async def _missing(_: Request, error: HTTPException) -> Response:
    missing = answer({"detail": error.detail}, error.status_code)
    missing.headers.update(error.headers or {})
    return missing
