"""The Open Inference Protocol V2 over HTTP: inference with tensors by name or with one matrix."""

from functools import partial
from typing import Any
from urllib.parse import unquote

import numpy as np

from services.predictor.refusals import bad, fault, some
from services.predictor.routes.answers import UnreadableError, parsed, unreadable
from services.predictor.routes.fields import example_of
from services.predictor.routes.openapi import Document
from services.predictor.routes.operations import asked, json_of
from services.predictor.routes.outputs import HEADER, wanted_of, written
from services.predictor.routes.protocol import Call, Question
from services.predictor.routes.sentences import sentence
from services.predictor.routes.tensors import BYTES, DTYPES, Tensor, tensor_of
from services.predictor.shapes import check_count
from services.predictor.slot import Champion
from services.predictor.validator import Validator, without_nan
from shared.bundle import Columns
from shared.errors import BatonError

PREFIX = "/v2/models/"
DATATYPES = {
    "double": "FP64", "float": "FP32", "long": "INT64", "integer": "INT32", "boolean": "BOOL", "string": "BYTES",
}  # fmt: skip
TENSOR = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"enum": [*DTYPES, BYTES]},
        "data": {"type": "array"},
        "parameters": {"type": "object"},
    },
    "required": ["name", "shape", "datatype"],
}
NAMED = {"type": "object", "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}}}
REQUEST = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "inputs": {"type": "array", "items": TENSOR, "minItems": 1},
        "outputs": {"type": "array", "items": NAMED | {"required": ["name"]}},
    },
    "required": ["inputs"],
}
INFERENCE = {
    "type": "object",
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {"type": "array", "items": TENSOR},
    },
    "required": ["model_name", "model_version", "outputs"],
}
INFERENCE_ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}


class OpenInference:
    """`POST /v2/models/{model}[/versions/{version}]/infer`."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows

    def read(self, call: Call, champion: Champion) -> Question:
        """Take one tensor per input of the model, or one matrix of all of them."""
        split = _header_length(call)
        request = parsed(call.body[:split], call)
        if type(request) is not dict or type(request.get("inputs")) is not list or not request["inputs"]:
            raise UnreadableError("the request is not an object with a list of inputs")
        inputs = _tensors(request["inputs"], call.body[split:])
        columns = _columns(inputs, champion.validator, self._max_rows)
        wanted = wanted_of(request, champion.verified.manifest.output)
        return Question(columns, partial(written, champion, wanted, request.get("id")))

    def problem(self, error: BatonError) -> Any:
        """Say what is wrong in a sentence, as the protocol has it."""
        return {"error": sentence(error)}

    def schemas(self) -> Document:
        """Return the schemas that its operations name."""
        return {"Inference": INFERENCE, "InferenceError": INFERENCE_ERROR}

    def fixed(self, _: Champion | None) -> Document:
        """Return no paths: each request names its model."""
        return {}

    def of_model(self, path: str, champion: Champion) -> Document:
        """Describe a model's inference."""
        answer = json_of({"$ref": "#/components/schemas/Inference"})
        title = f"Open Inference Protocol: ask {champion.model}"
        content = json_of(REQUEST, example=_example(champion))
        return {f"/v2/models/{path}/infer": asked("open inference", title, content, answer, "InferenceError")}


def _example(champion: Champion) -> dict[str, Any]:
    kinds = {column.name: DATATYPES[column.type] for column in champion.validator.inputs}
    return {
        "inputs": [
            {"name": name, "shape": [1], "datatype": kinds[name], "data": [value]}
            for name, value in example_of(champion).items()
        ]
    }


def named_in(path: bytes) -> tuple[str, str | None, str]:
    """Return the model, the version if there is one, and the verb that a path, as it was sent, names.

    A slash in a model's name may be written as it is, or as %2F.
    """
    *names, verb = [unquote(part.decode("latin-1")) for part in path.removeprefix(PREFIX.encode()).split(b"/")]
    if verb not in {"infer", "ready"} or not names:
        names, verb = [*names, verb], ""
    if len(names) > 2 and names[-2] == "versions":
        return "/".join(names[:-2]), names[-1], verb
    return "/".join(names), None, verb


def _header_length(call: Call) -> int:
    length = call.header(HEADER) or str(len(call.body))
    if not (length.isascii() and length.isdigit() and len(length) < 20 and int(length) <= len(call.body)):
        raise unreadable(call, "Inference-Header-Content-Length is not a number of bytes within the body")
    return int(length)


def _tensors(described: list[Any], tail: bytes) -> list[Tensor]:
    found: list[Tensor] = []
    start = 0
    for one in described:
        tensor, start = tensor_of(one, tail, start)
        found.append(tensor)
    if start != len(tail):
        raise UnreadableError(f"{len(tail) - start} bytes behind the tensors belong to none of them")
    if len({tensor.name for tensor in found}) != len(found):
        raise UnreadableError("two tensors have the same name")
    return found


def _columns(inputs: list[Tensor], validator: Validator, max_rows: int) -> Columns:
    first = inputs[0]
    check_count(first.shape[0], max_rows)
    if len(inputs) == 1 and (first.name not in validator.names or (len(first.shape) == 2 and first.shape[1] != 1)):
        return _from_matrix(first, validator)
    shapes = [first.shape[0]], [first.shape[0], 1]
    expected = f"shape {shapes[0]} or {shapes[1]}"
    if wrong := some(fault(str(one.shape), expected, field=one.name) for one in inputs if one.shape not in shapes):
        raise bad("the tensors differ in shape", *wrong)
    arrays = {one.name: one.values for one in inputs if isinstance(one.values, np.ndarray)}
    if len(arrays) == len(inputs):
        return validator.arrays(arrays)
    lists = {one.name: one.values if isinstance(one.values, list) else without_nan(one.values) for one in inputs}
    return validator.columns(lists)


def _from_matrix(tensor: Tensor, validator: Validator) -> Columns:
    width = len(validator.names)
    if len(tensor.shape) != 2 or tensor.shape[1] != width:
        expected = f"shape [rows, {width}] of {', '.join(validator.names)}, or one tensor for each of them"
        raise bad("the tensor does not fit the model's inputs", fault(str(tensor.shape), expected, field=tensor.name))
    lenient = validator.lenient  # a matrix has one datatype for inputs of all types
    if isinstance(tensor.values, list):
        return lenient.lists([tensor.values[at : at + width] for at in range(0, len(tensor.values), width)])
    return lenient.matrix(tensor.values.reshape(tensor.shape))
