"""Tensors of the Open Inference Protocol: as JSON, and as bytes behind it."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from services.predictor.routes.answers import UnreadableError

DTYPES = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
}  # fmt: skip
BYTES = "BYTES"
TAKES: dict[str, set[type]] = {"B": {bool}, "U": {int}, "I": {int}, "F": {int, float}}


@dataclass(frozen=True)
class Tensor:
    """A named tensor; `values` are an array or a list, row by row and flat, None being a missing value."""

    name: str
    shape: list[int]
    values: np.ndarray | list[Any]


def tensor_of(described: Any, tail: bytes, start: int) -> tuple[Tensor, int]:
    """Read a tensor; return it, and where in the bytes behind the JSON the next one begins."""
    if type(described) is not dict or type(name := described.get("name")) is not str:
        raise UnreadableError("a tensor is an object with name, shape, datatype and data")
    shape, datatype = described.get("shape"), described.get("datatype")
    if type(shape) is not list or not shape or any(type(size) is not int or size < 0 for size in shape):
        raise UnreadableError(f"tensor {name}: shape is not a list of sizes")
    if type(datatype) is not str or datatype not in {*DTYPES, BYTES}:
        raise UnreadableError(f"tensor {name}: datatype is not one of {', '.join([*DTYPES, BYTES])}")
    size = _binary_size(described)
    if size is None:
        return Tensor(name, shape, _listed(name, described.get("data"), shape, datatype)), start
    if not 0 <= size <= len(tail) - start:
        raise UnreadableError(f"tensor {name}: {size} bytes are announced, {len(tail) - start} are there")
    return Tensor(name, shape, _unpacked(name, tail[start : start + size], shape, datatype)), start + size


def _binary_size(described: dict[str, Any]) -> int | None:
    parameters = described.get("parameters")
    size = parameters.get("binary_data_size") if type(parameters) is dict else None
    return size if type(size) is int else None


def _listed(name: str, data: Any, shape: Sequence[int], datatype: str) -> list[Any]:
    if type(data) is not list:
        raise UnreadableError(f"tensor {name}: neither data as a list nor a binary_data_size")
    while data and all(type(value) is list for value in data):
        data = [value for part in data for value in part]
    listed: list[Any] = data
    _check_count(name, len(listed), shape)
    takes = {str} if datatype == BYTES else TAKES[datatype[0]]
    if not set(map(type, listed)) <= takes | {type(None)}:
        raise UnreadableError(f"tensor {name}: data holds something that is no {datatype}")
    if datatype[0] in "UI":
        _check_range(name, [value for value in listed if value is not None], datatype)
    return listed


def _check_range(name: str, values: Sequence[int], datatype: str) -> None:
    limits = np.iinfo(DTYPES[datatype])
    for extreme in (min(values, default=0), max(values, default=0)):
        if not limits.min <= extreme <= limits.max:
            expected = f"a whole number from {limits.min} to {limits.max}"
            raise UnreadableError(f"tensor {name}: {extreme} is no {datatype}, {expected}")


def _unpacked(name: str, packed: bytes, shape: Sequence[int], datatype: str) -> np.ndarray | list[Any]:
    if datatype == BYTES:
        texts = _texts(name, packed)
        _check_count(name, len(texts), shape)
        return texts
    dtype: np.dtype[Any] = np.dtype(DTYPES[datatype]).newbyteorder("<")
    if len(packed) != prod(shape) * dtype.itemsize:
        expected = f"{prod(shape) * dtype.itemsize} bytes for shape {list(shape)} of {datatype}"
        raise UnreadableError(f"tensor {name}: {len(packed)} bytes instead of {expected}")
    if datatype == "BOOL":
        dtype = np.dtype(np.bool_)  # any byte but 0 is true
    values: np.ndarray = np.frombuffer(packed, dtype)
    return values


def _texts(name: str, packed: bytes) -> list[Any]:
    """Read texts, each behind its length in four bytes."""
    texts: list[Any] = []
    at = 0
    while at < len(packed):
        if at + 4 > len(packed) or (end := at + 4 + int.from_bytes(packed[at : at + 4], "little")) > len(packed):
            raise UnreadableError(f"tensor {name}: a text is longer than the bytes that are there")
        try:
            texts.append(packed[at + 4 : end].decode())
        except UnicodeDecodeError as error:
            raise UnreadableError(f"tensor {name}: a text is not UTF-8") from error
        at = end
    return texts


def _check_count(name: str, count: int, shape: Sequence[int]) -> None:
    if count != prod(shape):
        raise UnreadableError(f"tensor {name}: {count} values instead of {prod(shape)} for shape {list(shape)}")


def packed(datatype: str, data: list[Any] | np.ndarray) -> bytes:
    """Return a tensor's values as bytes."""
    if datatype == BYTES:
        texts = [str(value).encode() for value in data]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.ascontiguousarray(data, np.dtype(DTYPES[datatype]).newbyteorder("<")).tobytes()
