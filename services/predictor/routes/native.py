"""Baton's own protocol: one object, a list of objects, or columns, as JSON."""

from functools import partial
from typing import Any

from services.predictor.refusals import bad, fault, kind_of
from services.predictor.routes.answers import dumped, parsed
from services.predictor.routes.fields import columns_schema, example_of, row_schema
from services.predictor.routes.openapi import Document
from services.predictor.routes.operations import asked, json_of
from services.predictor.routes.protocol import Call, Question, Reply
from services.predictor.shapes import check_count, count_of, objects
from services.predictor.slot import Champion
from services.predictor.validator import Validator
from shared.bundle import Columns
from shared.errors import BatonError, InputError
from shared.runtime import Prediction

EXPECTED = 'an object, a list of objects, or {"columns": {name: list}}'


ROW = {"type": "object", "additionalProperties": {"type": ["number", "string", "boolean", "null"]}}
ANSWER = {
    "type": "object",
    "properties": {
        "model": {"type": "string"},
        "version": {"type": "string"},
        "prediction": {"description": "For one object: the class, or the value."},
        "probabilities": {"type": "object", "additionalProperties": {"type": "number"}},
        "predictions": {"type": "array", "items": {"type": "object"}, "description": "For many rows: one each."},
    },
    "required": ["model", "version"],
}
PROBLEM = {"type": "object", "properties": {"detail": {}, "message": {"type": "string"}}, "required": ["detail"]}


class Native:
    """`POST /predict` and `POST /models/{model}/predict`."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows

    def read(self, call: Call, champion: Champion) -> Question:
        """Take an object alone, a list of objects, or an object of columns."""
        body = parsed(call.body, call)
        write = _one if is_alone(body) else _many
        return Question(columns_of(body, champion.validator, self._max_rows), partial(write, champion))

    def problem(self, error: BatonError) -> Any:
        """Name every fault."""
        if isinstance(error, InputError):
            return {"detail": error.faults, "message": str(error)}
        return {"detail": str(error)}

    def schemas(self) -> Document:
        """Return the schemas that its operations name."""
        return {"Answer": ANSWER, "Problem": PROBLEM}

    def fixed(self, champion: Champion | None) -> Document:
        """Describe `/predict`."""
        return {"/predict": _operation(champion)}

    def of_model(self, path: str, champion: Champion) -> Document:
        """Describe a model's own path."""
        return {f"/models/{path}/predict": _operation(champion)}


def is_alone(body: Any) -> bool:
    """Return whether a body is one row, not a list and not columns."""
    return type(body) is dict and not (body.keys() == {"columns"} and type(body["columns"]) is dict)


def columns_of(body: Any, validator: Validator, max_rows: int) -> Columns:
    """Return the rows of a body, whichever of its forms they have."""
    if is_alone(body):
        return validator.rows([body], alone=True)
    if type(body) is list:
        check_count(len(body), max_rows)
        return validator.rows(objects(body))
    if type(body) is not dict:
        raise bad("the body is neither an object nor a list of objects", fault(kind_of(body), EXPECTED))
    check_count(count_of(body["columns"]), max_rows)
    return validator.columns(body["columns"])


def _operation(champion: Champion | None) -> Document:
    row = row_schema(champion) if champion else ROW
    columns = columns_schema(champion) if champion else {"type": "object", "additionalProperties": {"type": "array"}}
    wrapped = {"type": "object", "properties": {"columns": columns}, "required": ["columns"]}
    forms = {"oneOf": [row, {"type": "array", "items": row, "minItems": 1}, wrapped]}
    example = {"example": example_of(champion)} if champion else {}
    answer = json_of({"$ref": "#/components/schemas/Answer"})
    title = f"Ask {champion.model}" if champion else "Ask the model from the settings, or the only one served"
    return asked("predictions", title, json_of(forms, **example), answer, "Problem")


def _one(champion: Champion, prediction: Prediction) -> Reply:
    return Reply(dumped({"model": champion.model, "version": champion.version, **_rows(champion, prediction)[0]}))


def _many(champion: Champion, prediction: Prediction) -> Reply:
    rows = _rows(champion, prediction)
    return Reply(dumped({"model": champion.model, "version": champion.version, "predictions": rows}))


def _rows(champion: Champion, prediction: Prediction) -> list[dict[str, Any]]:
    if prediction.probabilities is None:
        return [{"prediction": value} for value in prediction.values]
    names = champion.classes
    return [
        {"prediction": value, "probabilities": dict(zip(names, row, strict=True))}
        for value, row in zip(prediction.values, prediction.probabilities.tolist(), strict=True)
    ]
