"""The predictor's HTTP interface as a whole."""

from collections.abc import Callable

from fastapi import FastAPI
from starlette.types import Lifespan

from services.predictor.executor import Executor
from services.predictor.routes import answers, predictions, state
from services.predictor.settings import PredictorSettings
from services.predictor.slot import Slots
from services.predictor.status import Status


def make_api(
    slots: Slots,
    executor: Executor,
    settings: PredictorSettings,
    status: Callable[[], Status],
    lifespan: Lifespan[FastAPI] | None = None,
) -> FastAPI:
    """Return an application that answers from slots; it starts nothing but what `lifespan` does."""
    api = FastAPI(
        title="Baton predictor",
        version="1.0.0",
        description="Predictions by the champion of each model; every answer names the version that made it.",
        lifespan=lifespan,
    )
    answers.handle_errors(api)
    api.include_router(predictions.make_router(slots, executor, settings))
    api.include_router(state.make_router(slots, status))
    return api
