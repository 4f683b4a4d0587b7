"""Tiny real bundles: an ONNX model whose answer is known, so that a test can tell which version answered."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from shared.bundle import GOLDEN, MODEL_FILES, Column, Golden, Manifest, Output, file_digest, write
from shared.runtime.onnx import PROBABILITIES, VALUES

XY = (Column(name="x", type="double"), Column(name="y", type="double", required=False))
CLASSES = [0, 1]


def classifier(folder: Path, share: float, *, golden_share: float | None = None, **manifest: Any) -> tuple[Path, str]:
    """Write a bundle that answers class 1 with probability `share` to every row; return archive and digest.

    `golden_share` is what its golden answers say instead.
    """
    model = _graph([0.0, math.log(share / (1 - share))], PROBABILITIES, softmax=True)
    golden = share if golden_share is None else golden_share
    answers = Golden(columns=_ROWS, predictions=[int(golden > 0.5)] * 2, probabilities=[[1 - golden, golden]] * 2)
    output = Output(kind="classification", classes=CLASSES, probabilities=True)
    return _write(folder, model, answers, output, manifest)


def regressor(folder: Path, value: float) -> tuple[Path, str]:
    """Write a bundle that answers `value` to every row; return archive and digest."""
    answers = Golden(columns=_ROWS, predictions=[value, value])
    return _write(folder, _graph([value], VALUES, softmax=False), answers, Output(kind="regression"), {})


def hanging(folder: Path, above: float = -math.inf) -> tuple[Path, str]:
    """Write a bundle whose graph never answers rows with an x above a bound; return archive and digest."""
    answers = Golden(columns=_ROWS, predictions=[1.0, 2.0])
    return _write(folder, _endless_graph(above), answers, Output(kind="regression"), {})


def _endless_graph(above: float) -> bytes:
    """Return a graph that answers x; where one is above a bound, it adds nothing to it, again and again, for ever."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["again"], ["again_out"]),
            helper.make_node("Add", ["sum", "nothing"], ["sum_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, [None, 1]),
        ],
        [
            helper.make_tensor_value_info("again_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_out", TensorProto.FLOAT, [None, 1]),
        ],
    )
    constants = [
        numpy_helper.from_array(np.zeros((1, 1), np.float32), "nothing"),
        numpy_helper.from_array(np.array(above, np.float32), "bound"),
    ]
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Greater", ["largest", "bound"], ["is_above"]),
        helper.make_node("Loop", ["", "is_above", "x"], [VALUES], body=body),
    ]
    return _model(nodes, constants, VALUES, 1)


_ROWS: dict[str, list[Any]] = {"x": [1.0, 2.0], "y": [0.5, 1.5]}


def _graph(bias: Sequence[float], name: str, *, softmax: bool) -> bytes:
    """Return a graph that multiplies x by nothing and adds a bias, so that each row gets the same answer."""
    weights = numpy_helper.from_array(np.zeros((1, len(bias)), np.float32), "weights")
    constant = numpy_helper.from_array(np.asarray([bias], np.float32), "bias")
    nodes = [helper.make_node("MatMul", ["x", "weights"], ["product"])]
    if softmax:
        nodes += [helper.make_node("Add", ["product", "bias"], ["logits"])]
        nodes += [helper.make_node("Softmax", ["logits"], [name], axis=1)]
    else:
        nodes += [helper.make_node("Add", ["product", "bias"], [name])]
    return _model(nodes, [weights, constant], name, len(bias))


def _model(nodes: list[Any], constants: list[Any], name: str, width: int) -> bytes:
    inputs = [helper.make_tensor_value_info(column.name, TensorProto.FLOAT, [None, 1]) for column in XY]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width])]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _write(folder: Path, model: bytes, golden: Golden, output: Output, changed: dict[str, Any]) -> tuple[Path, str]:
    files = {MODEL_FILES["onnx"]: model, GOLDEN: golden.model_dump_json().encode()}
    content = {
        "inputs": [column.model_dump() for column in XY],
        "output": output.model_dump(),
        "runtime": "onnx",
        "runtime_reason": "made for a test",
        "tolerance": 1e-5,
        "libraries": {},
        "files": {name: file_digest(data) for name, data in files.items()},
    }
    manifest = Manifest.model_validate_json(json.dumps(content | changed))
    archive = folder / f"{manifest.digest().replace(':', '-')}.tar"
    return archive, write(archive, manifest, files)
