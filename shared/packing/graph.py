"""Building parts of an ONNX graph, and giving a whole graph the inputs that the runtime feeds."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from skl2onnx.operator_converters.common import concatenate_variables

from shared.bundle import Column
from shared.runtime.onnx import NUMBERS, TEXTS

ML = "ai.onnx.ml"
ML_VERSION = 5  # the first with TreeEnsemble, which computes in double


class Part:
    """The nodes of one scikit-learn step; names of tensors are strings, arrays become constants."""

    def __init__(self, scope: Any, operator: Any, container: Any) -> None:
        self._scope, self._operator, self._container = scope, operator, container
        self.step: Any = operator.raw_operator

    def rows(self) -> str:
        """Return the step's input as one tensor of shape (n, features)."""
        name: str = concatenate_variables(self._scope, self._operator.inputs, self._container)
        return name

    def add(self, kind: str, *inputs: "str | np.ndarray", domain: str = "", **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        output: str = self._scope.get_unique_variable_name(kind.lower())
        names = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        # skl2onnx knows the domain up to version 3 only; `ML_VERSION` is written into the finished model.
        version = {"op_version": 3} if domain else {}
        self._container.add_node(kind, names, [output], op_domain=domain, **version, **attributes)
        return output

    def give(self, name: str, output: int = 0) -> None:
        """Make a tensor one of the step's outputs."""
        self._container.add_node("Identity", [name], [self._operator.outputs[output].full_name])

    def _constant(self, values: np.ndarray) -> str:
        name: str = self._scope.get_unique_variable_name("constant")
        if values.dtype == object:
            content: list[Any] = [str(text).encode() for text in values.ravel()]
            self._container.add_initializer(name, TensorProto.STRING, list(values.shape), content)
        else:
            kind = helper.np_dtype_to_tensor_dtype(values.dtype)
            self._container.add_initializer(name, kind, list(values.shape), values.ravel().tolist())
        return name


def keep_output(model: ModelProto, wanted: str, name: str) -> None:
    """Give one output of a graph a name, as doubles whatever it was declared as, and drop the others."""
    raw = f"{name}.raw"
    for node in model.graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [raw if tensor == wanted else tensor for tensor in tensors]
    shape = next(value for value in model.graph.output if value.name == wanted).type.tensor_type.shape
    width = [dim.dim_value for dim in shape.dim][1:]
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.DOUBLE, [None, *width]))
    model.graph.node.append(helper.make_node("Cast", [raw], [name], name=f"{name}.cast", to=TensorProto.DOUBLE))
    _drop_unused(model)


def _drop_unused(model: ModelProto) -> None:
    """Drop the nodes and constants that no output needs: onnxruntime runs them all the same."""
    needed, nodes = {value.name for value in model.graph.output}, []
    for node in reversed(model.graph.node):
        if needed & {*node.output}:
            nodes.append(node)
            needed.update(_read_by(node))
    constants = [constant for constant in model.graph.initializer if constant.name in needed]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(reversed(nodes))
    model.graph.initializer.extend(constants)


def _read_by(node: Any) -> Iterator[str]:
    """Yield the tensors that a node reads, those that the bodies of loops in it read from outside included."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _read_by(inner)


def set_versions(model: ModelProto) -> None:
    """Write the versions of the operators' domains, in the same order every time, and the one that `Part` needs."""
    versions = {opset.domain: opset.version for opset in model.opset_import}
    if any(node.op_type == "TreeEnsemble" for node in model.graph.node):
        versions[ML] = ML_VERSION
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in sorted(versions.items()))


def join_as_they_are(model: ModelProto) -> None:
    """Let columns be joined without being rounded to float32 on the way, which skl2onnx's way to join them does."""
    for node in model.graph.node:
        if node.op_type == "FeatureVectorizer":
            node.op_type, node.domain = "Concat", ""
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("axis", 1))


def stack_inputs(model: ModelProto, inputs: Sequence[Column]) -> None:
    """Replace one input per column by one tensor of all numbers and one of all texts: fewer to feed, fewer to join."""
    names = [value.name for value in model.graph.input]  # as written by skl2onnx, which allows fewer characters
    if names in ([NUMBERS], [TEXTS]):
        return
    texts = [name for name, column in zip(names, inputs, strict=True) if column.type == "string"]
    numbers = [name for name, column in zip(names, inputs, strict=True) if column.type != "string"]
    del model.graph.input[:]
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for matrix, kind, joined in ((NUMBERS, TensorProto.DOUBLE, numbers), (TEXTS, TensorProto.STRING, texts)):
        if joined:
            model.graph.input.append(helper.make_tensor_value_info(matrix, kind, [None, len(joined)]))
            nodes = _taken_from(matrix, joined, nodes, model)
    model.graph.node.extend(nodes)


def _taken_from(matrix: str, names: list[str], nodes: list[Any], model: ModelProto) -> list[Any]:
    """Let nodes take columns from a matrix; where some are joined, they are taken together."""
    place = {name: index for index, name in enumerate(names)}
    taken, others = [], []
    for node in nodes:
        if node.op_type == "Concat" and all(name in place for name in node.input):
            taken.append(_take(matrix, [place[name] for name in node.input], node.output[0], model))
            continue
        others.append(node)
        for index, name in enumerate(node.input):
            if name in place:
                node.input[index] = f"{matrix}.{place[name]}"  # a column's own name could be that of another tensor
    single = sorted({name for node in others for name in node.input} & {f"{matrix}.{i}" for i in range(len(names))})
    return [_take(matrix, [int(name.rpartition(".")[2])], name, model) for name in single] + taken + others


def _take(matrix: str, places: list[int], output: str, model: ModelProto) -> Any:
    index = f"{output}.columns"
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(places, np.int64), index))
    return helper.make_node("Gather", [matrix, index], [output], name=f"{output}.take", axis=1)
