"""MLflow's scoring protocol: `POST /invocations` with a DataFrame, instances, inputs or CSV."""

import re
from functools import partial
from typing import Any

from services.predictor.refusals import bad, fault, kind_of, no_such, some
from services.predictor.routes.answers import UnreadableError, UnsupportedError, dumped, parsed, status_of
from services.predictor.routes.fields import Schema, columns_schema, example_of, row_schema
from services.predictor.routes.openapi import Document
from services.predictor.routes.operations import asked, json_of
from services.predictor.routes.protocol import Call, Question, Reply
from services.predictor.routes.sentences import sentence
from services.predictor.routes.table import columns_of_csv
from services.predictor.shapes import check_count, check_widths, count_of, objects
from services.predictor.slot import Champion
from services.predictor.validator import Validator
from shared.bundle import Columns
from shared.errors import BatonError
from shared.runtime import Prediction

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
CODES = {
    401: "UNAUTHENTICATED",
    404: "RESOURCE_DOES_NOT_EXIST",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "TEMPORARILY_UNAVAILABLE",
}
# MLflow's client writes what is missing as a bare NaN, which JSON does not have. Texts are left alone, many at once;
# one without end goes on to the end of the body, and no way back is kept, so that nothing is looked at twice.
NAN_OR_TEXTS = re.compile(rb'(?:"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)[^"N]*+)++|\bNaN\b', re.DOTALL)

ROWS = {"type": "array", "items": {"type": ["array", "object", "number", "string", "boolean", "null"]}}
ANSWER = {"type": "object", "properties": {"predictions": {"type": "array"}}, "required": ["predictions"]}
PROBLEM = {
    "type": "object",
    "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
    "required": ["error_code", "message"],
}


def charset_of(parameters: str) -> str:
    """Return the character set among a content type's parameters, in lower case; empty if none is named."""
    named = dict(each.strip().lower().partition("=")[::2] for each in parameters.split(";"))
    return named.get("charset", "").strip('"')


class Scoring:
    """`POST /invocations` and `POST /models/{model}/invocations`."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows

    def read(self, call: Call, champion: Champion) -> Question:
        """Take what MLflow's own server takes, as JSON or as CSV."""
        kind, _, parameters = call.header(b"content-type").partition(";")
        charset = charset_of(parameters)
        if charset not in {"", "utf-8", "utf8"}:
            raise UnsupportedError(f"charset={charset[:100]} is not taken: send UTF-8")
        validator = champion.validator.lenient  # pandas makes floats of whole numbers, and MLflow takes them back
        return Question(self._columns(kind.strip().lower(), call, validator), partial(_write, champion))

    def _columns(self, kind: str, call: Call, validator: Validator) -> Columns:
        if kind == "text/csv":
            return validator.columns(columns_of_csv(call, validator.inputs, self._max_rows))
        if kind not in {"application/json", ""}:
            raise UnsupportedError(f"{kind[:100]} is not taken: send application/json or text/csv")
        return columns_of(_parsed(call), validator, self._max_rows)

    def problem(self, error: BatonError) -> Any:
        """Say what is wrong as MLflow's errors do."""
        code = CODES.get(status_of(error), "INVALID_PARAMETER_VALUE")
        return {"error_code": code, "message": sentence(error)}

    def schemas(self) -> Document:
        """Return the schemas that its operations name."""
        return {"Scores": ANSWER, "ScoringError": PROBLEM}

    def fixed(self, champion: Champion | None) -> Document:
        """Describe `/invocations`."""
        return {"/invocations": _operation(champion)}

    def of_model(self, path: str, champion: Champion) -> Document:
        """Describe a model's own path."""
        return {f"/models/{path}/invocations": _operation(champion)}


def _operation(champion: Champion | None) -> Document:
    row: Schema = row_schema(champion) if champion else {"type": "object"}
    columns = columns_schema(champion) if champion else {"type": "object"}
    split = {
        "type": "object",
        "properties": {"columns": {"type": "array", "items": {"type": "string"}}, "data": {"type": "array"}},
        "required": ["data"],
    }
    records = {"type": "array", "items": row, "minItems": 1}
    given = {
        "dataframe_split": split,
        "dataframe_records": records,
        "instances": ROWS,
        "inputs": {"anyOf": [columns, ROWS]},
    }
    forms = [{"type": "object", "properties": {name: form}, "required": [name]} for name, form in given.items()]
    example = {"example": {"dataframe_records": [example_of(champion)]}} if champion else {}
    content = json_of({"oneOf": forms}, **example) | {"text/csv": {"schema": {"type": "string"}}}
    title = f"MLflow scoring: ask {champion.model}" if champion else "MLflow scoring: ask the default model"
    return asked("mlflow", title, content, json_of({"$ref": "#/components/schemas/Scores"}), "ScoringError")


def _parsed(call: Call) -> Any:
    try:
        return parsed(call.body, call)
    except UnreadableError:
        if b"NaN" not in call.body:
            raise
    return parsed(with_null(call.body), call)


def with_null(body: bytes) -> bytes:
    """Return a body with null for each NaN outside of texts."""
    return NAN_OR_TEXTS.sub(lambda found: b"null" if found[0] == b"NaN" else found[0], body)


def columns_of(body: Any, validator: Validator, max_rows: int) -> Columns:
    """Return the rows of a body, whichever of its forms they have."""
    given = [form for form in FORMS if form in body] if type(body) is dict else []
    if len(given) != 1:
        raise bad("the request has no rows", fault(kind_of(body), f"an object with one of {', '.join(FORMS)}"))
    others = (name for name in body if name != given[0] and not (name == "params" and not body[name]))
    if wrong := some(fault(kind_of(body[name]), "nothing", field=name) for name in others):
        raise bad("the model takes rows only", *wrong)
    rows = body[given[0]]
    if given[0] == "dataframe_split":
        return _split(rows, validator, max_rows)
    if given[0] == "inputs" and type(rows) is dict:
        return _named(rows, validator, max_rows)
    if type(rows) is not list:
        raise bad(f"{given[0]} holds no rows", fault(kind_of(rows), "a list", field=given[0]))
    check_count(len(rows), max_rows)
    if given[0] == "dataframe_records" or type(rows[0]) is dict:
        return validator.rows(objects(rows))
    if len(validator.names) == 1:
        rows = [row if type(row) is list else [row] for row in rows]
    return validator.lists(rows)


def _named(columns: dict[str, Any], validator: Validator, max_rows: int) -> Columns:
    """Take one list per input; or one value per input, which is one row."""
    if columns and all(type(values) is not list for values in columns.values()):
        return validator.rows([columns])
    check_count(count_of(columns), max_rows)
    return validator.columns(columns)


def _split(split: Any, validator: Validator, max_rows: int) -> Columns:
    if type(split) is not dict or type(data := split.get("data")) is not list:
        raise bad("dataframe_split holds no rows", fault(kind_of(split), "an object with columns and data"))
    check_count(len(data), max_rows)
    names = split.get("columns", validator.names)
    if type(names) is not list or any(type(name) is not str for name in names) or len({*names}) != len(names):
        raise bad("dataframe_split has no usable columns", fault(kind_of(names), "a list of different names"))
    if names == validator.names:
        return validator.lists(data)
    if not validator.known.issuperset(names):
        expected, unknown = no_such(validator.names), (name for name in names if name not in validator.known)
        raise bad("the model has no such columns", *some(fault("a column", expected, field=name) for name in unknown))
    check_widths(data, names)
    return validator.rows([dict(zip(names, row, strict=True)) for row in data])


def _write(_: Champion, prediction: Prediction) -> Reply:
    return Reply(dumped({"predictions": prediction.values}))
