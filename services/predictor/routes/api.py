"""The predictor's HTTP interface as a whole."""

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Lifespan

from services.predictor.executor import Executor
from services.predictor.gate import Gate
from services.predictor.meters import Meters
from services.predictor.routes.answers import answer, headers_of, status_of
from services.predictor.routes.front import Front
from services.predictor.routes.metadata import Metadata
from services.predictor.routes.native import Native
from services.predictor.routes.openapi import OpenApi
from services.predictor.routes.openinference import OpenInference
from services.predictor.routes.paths import OnlyPost, Paths
from services.predictor.routes.scoring import Scoring
from services.predictor.routes.state import State
from services.predictor.settings import PredictorSettings
from services.predictor.slot import Champion, Slots
from services.predictor.status import Status
from shared.errors import BatonError
from shared.guard import Guard
from shared.keys import Keys

# What balancers and Prometheus ask: whether this worker serves, and counts by model; of rows and answers nothing.
OPEN = {"/health", "/ready", "/ping", "/v2/health/live", "/v2/health/ready", "/metrics"}


def make_api(
    slots: Slots,
    executor: Executor,
    gate: Gate,
    meters: Meters,
    *,
    settings: PredictorSettings,
    keys: Keys | None = None,
    status: Callable[[], Status],
    load: Callable[[str], Awaitable[Champion]],
    lifespan: Lifespan[Starlette] | None = None,
) -> Front:
    """Return an application that answers from slots, to who shows one of the keys if there are any.

    It starts nothing but what `lifespan` does. `load` brings a champion into its slot that is not loaded yet.
    """
    native, scoring, inference = (kind(settings.max_rows) for kind in (Native, Scoring, OpenInference))
    state, metadata = State(slots, meters, status), Metadata(slots, status, load, settings.request_timeout_s)
    openapi = OpenApi(slots, [native, scoring, inference, state, metadata])
    paths = Paths(native, scoring, inference)
    rest = Starlette(
        routes=[OnlyPost(paths), *openapi.routes(), *metadata.routes(), *state.routes()],
        exception_handlers={BatonError: _refused, HTTPException: _missing},  # type: ignore[dict-item]
        lifespan=lifespan,
    )
    rest.router.redirect_slashes = False  # a prediction is asked for by its path, not by one that is like it

    guarded = Guard(rest, keys, lambda scope: scope["path"] in OPEN, _refused) if keys else rest
    return Front(paths.find, slots, executor, gate, meters, settings=settings, keys=keys, load=load, rest=guarded)


async def _refused(request: Request, error: BatonError) -> Response:
    refused = answer({_key(request): str(error)}, status_of(error))
    refused.headers.update(headers_of(error))
    return refused


def _key(request: Request) -> str:
    # Not by `request.url`: `urlsplit` would remember it, however long it is.
    return "error" if request.scope["path"].startswith("/v2") else "detail"


async def _missing(request: Request, error: HTTPException) -> Response:
    missing = answer({_key(request): error.detail}, error.status_code)
    missing.headers.update(error.headers or {})
    return missing
