"""How each system is asked, and where in its answer the probabilities of class 1 are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

Row = dict[str, float]


@dataclass(frozen=True)
class Dialect:
    """The path that a system answers at, the content of a question, and the probabilities in its answer."""

    path: str
    ask: Callable[[list[Row]], Any]
    read: Callable[[Any], list[float]]

    def request(self, rows: list[Row], model: str) -> bytes:
        """Return a question as the bytes of an HTTP request."""
        body = orjson.dumps(self.ask(rows))
        head = f"POST {self.path.format(model=model)} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body

    def answer(self, body: bytes) -> list[float]:
        """Return the probabilities of class 1, one per row; raise what reading it raises for anything else."""
        return self.read(orjson.loads(body))


def _alone_or_all(rows: list[Row]) -> Any:
    return rows[0] if len(rows) == 1 else rows


def _of_baton(answer: Any) -> list[float]:
    return [each["probabilities"]["1"] for each in answer.get("predictions") or [answer]]


def _second(pairs: list[list[float]]) -> list[float]:
    return [pair[1] for pair in pairs]


def _split(rows: list[Row]) -> Any:
    return {"dataframe_split": {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}}


def _tensors(rows: list[Row]) -> Any:
    inputs = [
        {"name": name, "shape": [len(rows), 1], "datatype": "FP64", "data": [row[name] for row in rows]}
        for name in rows[0]
    ]
    return {"parameters": {"content_type": "pd"}, "inputs": inputs, "outputs": [{"name": "predict_proba"}]}


DIALECTS = {
    "baton": Dialect("/models/{model}/predict", _alone_or_all, _of_baton),
    "limit": Dialect("/", lambda rows: [list(row.values()) for row in rows], _second),
    "constant": Dialect("/", lambda rows: [list(row.values()) for row in rows], _second),
    "mlflow": Dialect("/invocations", _split, lambda answer: _second(answer["predictions"])),
    "fastapi": Dialect("/predict", lambda rows: rows, _second),
    "bentoml": Dialect("/predict", lambda rows: {"rows": rows}, _second),
    "litserve": Dialect("/predict", lambda rows: {"rows": rows}, lambda answer: _second(answer["probabilities"])),
    "mlserver": Dialect("/v2/models/{model}/infer", _tensors, lambda answer: answer["outputs"][0]["data"][1::2]),
}
