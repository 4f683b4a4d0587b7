"""Answers as tensors of the Open Inference Protocol: `prediction` and, where there are some, `probabilities`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.predictor.labels import text_of
from services.predictor.refusals import bad, fault
from services.predictor.routes.answers import dumped
from services.predictor.routes.protocol import Reply
from services.predictor.routes.tensors import BYTES, packed
from services.predictor.slot import Champion
from shared.bundle import Output
from shared.runtime import Prediction

PREDICTION, PROBABILITIES = "prediction", "probabilities"
HEADER = b"inference-header-content-length"


def outputs_of(output: Output) -> dict[str, tuple[str, list[int]]]:
    """Return datatype and shape of each output, -1 being the number of rows."""
    outputs = {PREDICTION: (_datatype(output), [-1])}
    return outputs | {PROBABILITIES: ("FP64", [-1, len(output.classes)])} if output.probabilities else outputs


def _datatype(output: Output) -> str:
    if output.kind == "regression":
        return "FP64"
    kinds = set(map(type, output.classes))
    return {bool: "BOOL", int: "INT64", float: "FP64"}.get(kinds.pop(), BYTES) if len(kinds) == 1 else BYTES


def wanted_of(asked: Mapping[str, Any], output: Output) -> dict[str, bool]:
    """Return which outputs a request wants, and whether as bytes; all of them where it names none."""
    known = outputs_of(output)
    as_bytes = _parameter(asked, "binary_data_output", default=False)
    named = asked.get("outputs") or [{"name": name} for name in known]
    if type(named) is not list or any(type(one) is not dict for one in named):
        raise bad("outputs is not a list of objects", fault(str(type(named).__name__), "a list of objects with a name"))
    for one in named:
        if one.get("name") not in [*known]:
            raise bad(
                "the model has no such output", fault(one.get("name"), f"one of {', '.join(known)}", field="outputs")
            )
        if _parameter(one, "classification", default=0):
            raise bad("classes are not ranked here", fault("classification", "no such parameter", field="outputs"))
    return {one["name"]: _parameter(one, "binary_data", default=as_bytes) for one in named}


def _parameter(described: Mapping[str, Any], name: str, *, default: Any) -> bool:
    parameters = described.get("parameters")
    return bool(parameters.get(name, default) if type(parameters) is dict else default)


def written(champion: Champion, wanted: Mapping[str, bool], request_id: object, prediction: Prediction) -> Reply:
    """Write an answer; what is wanted as bytes stands behind the JSON, whose length a header then says."""
    known = outputs_of(champion.verified.manifest.output)
    tails: list[bytes] = []
    outputs = []
    for name, as_bytes in wanted.items():
        datatype, shape = known[name]
        values = _values(prediction, name, datatype)
        described: dict[str, Any] = {"name": name, "shape": [len(prediction.values), *shape[1:]], "datatype": datatype}
        if as_bytes:
            tails.append(packed(datatype, values))
            outputs.append(described | {"parameters": {"binary_data_size": len(tails[-1])}})
        else:
            flat = values.reshape(-1) if isinstance(values, np.ndarray) else values
            outputs.append(described | {"data": flat})
    head = {"model_name": champion.model, "model_version": champion.version, "outputs": outputs}
    body = dumped(head | ({"id": request_id} if isinstance(request_id, str) else {}))
    if not tails:
        return Reply(body)
    lengths = ((b"content-type", b"application/octet-stream"), (HEADER, b"%d" % len(body)))
    return Reply(b"".join([body, *tails]), lengths)


def _values(prediction: Prediction, name: str, datatype: str) -> list[Any] | np.ndarray:
    if name == PROBABILITIES:
        return np.asarray(prediction.probabilities, np.float64)
    return [text_of(value) for value in prediction.values] if datatype == BYTES else prediction.values
