"""`POST /predict` and `POST /models/{model}/predict`."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.predictor.executor import Executor
from services.predictor.routes.answers import answer, read_json
from services.predictor.schemas import columns_of, rows_of
from services.predictor.settings import PredictorSettings
from services.predictor.slot import Champion, Slots
from shared.runtime import Prediction

EXAMPLE = {
    "age": 63, "sex": 1, "cp": 3, "trestbps": 145, "chol": 233, "fbs": 1, "restecg": 0,
    "thalach": 150, "exang": 0, "oldpeak": 2.3, "slope": 0, "ca": 0, "thal": 1,
}  # fmt: skip
BODY = {
    "requestBody": {
        "required": True,
        "description": "One row as an object, or several as a list of objects.",
        "content": {
            "application/json": {
                "schema": {"oneOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]},
                "example": EXAMPLE,
            }
        },
    }
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The body is not JSON."},
    404: {"description": "No such model is known here."},
    413: {"description": "The body is too large."},
    422: {"description": "The rows do not fit the model's inputs; each field is named with what was expected."},
    503: {"description": "The model has no champion yet."},
}


def make_router(slots: Slots, executor: Executor, settings: PredictorSettings) -> APIRouter:
    """Return the routes that answer predictions."""
    router = APIRouter(tags=["predictions"])

    async def answered(champion: Champion, request: Request) -> Response:
        rows, alone = rows_of(await read_json(request, settings.max_body_bytes), settings.max_rows)
        columns = columns_of(rows, champion.verified.manifest, alone=alone)
        prediction = await executor.predict(champion.verified, columns)
        return answer(_body(champion, prediction, alone=alone))

    @router.post("/predict", openapi_extra=BODY, responses={**PROBLEMS, 409: {"description": "Name the model."}})
    async def predict(request: Request) -> Response:
        """Ask the champion of the default model, or of the only one served."""
        return await answered(slots.default(), request)

    @router.post("/models/{model:path}/predict", openapi_extra=BODY, responses=PROBLEMS)
    async def predict_with(model: str, request: Request) -> Response:
        """Ask the champion of a model."""
        return await answered(slots.champion(model), request)

    return router


def _body(champion: Champion, prediction: Prediction, *, alone: bool) -> dict[str, Any]:
    head = {"model": champion.model, "version": champion.version}
    rows = _rows(champion, prediction)
    return {**head, **rows[0]} if alone else {**head, "predictions": rows}


def _rows(champion: Champion, prediction: Prediction) -> list[dict[str, Any]]:
    if prediction.probabilities is None:
        return [{"prediction": value} for value in prediction.values]
    names = [str(label) for label in champion.verified.manifest.output.classes]
    chances = prediction.probabilities.tolist()
    return [
        {"prediction": value, "probabilities": dict(zip(names, row, strict=True))}
        for value, row in zip(prediction.values, chances, strict=True)
    ]
