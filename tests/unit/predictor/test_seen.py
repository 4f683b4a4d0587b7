"""What training did not see is answered all the same, and named."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from services.predictor.routes.protocol import MOST_UNSEEN, Question, Reply, reply_to
from services.predictor.seen import Seen
from services.predictor.validator import Validator
from shared.bundle import Column
from shared.runtime import Prediction
from tests import bundles
from tests.unit.predictor.api import Predictor

INPUTS = [
    Column(name="age", type="double", minimum=29, maximum=77),
    Column(name="ca", type="double", required=False, minimum=0, maximum=3),
    Column(name="small", type="float", minimum=0.1, maximum=0.7),
    Column(name="count", type="long", minimum=0, maximum=9),
    Column(name="any", type="double"),
    Column(name="colour", type="string", required=False, categories=["blue", "red"]),
    Column(name="note", type="string"),
]
USUAL: dict[str, Any] = {"age": 29, "ca": 3, "small": 0.1, "count": 9, "any": 1e9, "colour": "red", "note": "whatever"}


@pytest.mark.parametrize(
    ("rows", "unseen"),
    [
        ([{}], []),
        ([{"age": 77, "ca": None, "small": 0.7, "colour": None}], []),
        ([{"age": 28.99}], ["age"]),
        ([{"colour": "green"}], ["colour"]),
        ([{"colour": "Red", "count": 10, "ca": -0.5}], ["ca", "count", "colour"]),
        ([{}, {"age": 1e30}, {"small": 0.75}], ["age", "small"]),
    ],
)
def test_values_outside_are_named_by_input(rows: list[dict[str, Any]], unseen: list[str]) -> None:
    columns = Validator(INPUTS).rows([USUAL | row for row in rows])
    assert Seen(INPUTS).outside(columns) == unseen


@pytest.mark.parametrize(
    ("row", "unseen"),
    [([29.0, 3.0], []), ([77.0, np.nan], []), ([78.0, np.nan], ["age"]), ([28.0, 4.0], ["age", "ca"])],
)
def test_inputs_of_one_type_are_looked_at_as_they_came(row: list[float], unseen: list[str]) -> None:
    inputs = INPUTS[:2]
    assert Seen(inputs).outside(Validator(inputs).matrix(np.array([[30.0, np.nan], row]))) == unseen


def test_where_training_is_not_known_nothing_is_unseen() -> None:
    inputs = [Column(name="x", type="double"), Column(name="text", type="string")]
    assert Seen(inputs).outside(Validator(inputs).rows([{"x": 1e30, "text": "?"}])) == []


ASKED: list[tuple[str, Any]] = [
    ("/models/m/predict", [{"x": 3, "y": 1}]),
    ("/invocations", {"inputs": {"x": [1, 3], "y": [1, 1]}}),
    ("/v2/models/m/infer", {"inputs": [{"name": "all", "shape": [1, 2], "datatype": "FP64", "data": [3, 1]}]}),
    ("/predict", {"columns": {"x": [1] * 60 + [3] * 5}}),
]


@pytest.mark.parametrize(("path", "body"), ASKED)
async def test_every_protocol_names_them_in_a_header(
    predictor: Predictor, tmp_path: Path, path: str, body: Any
) -> None:
    x = {"name": "x", "type": "double", "minimum": 1, "maximum": 2.5}
    y = {"name": "y", "type": "double", "required": False, "minimum": 0, "maximum": 1}
    predictor.serve("m", bundles.classifier(tmp_path, 0.25, inputs=[x, y]))

    async def unseen(body: Any) -> str | None:
        answer: httpx.Response = await predictor.client.post(path, json=body)
        assert answer.status_code == 200
        named: str | None = answer.headers.get("baton-unseen")
        return named

    assert await unseen(body) == "x"
    if path == "/models/m/predict":
        assert await unseen([{"x": 1, "y": 0.5}]) is None
        assert await unseen([{"x": 0, "y": 0}, {"x": 1, "y": 2}]) == "x,y"


def test_the_header_stays_short_and_ascii(predictor: Predictor, tmp_path: Path) -> None:
    inputs = [Column(name=f"größe, {at}", type="double", minimum=0, maximum=1) for at in range(MOST_UNSEEN + 5)]
    champion = predictor.serve("m", bundles.classifier(tmp_path, 0.25))
    manifest = champion.verified.manifest.model_copy(update={"inputs": inputs})
    champion = replace(champion, verified=replace(champion.verified, manifest=manifest))
    columns = champion.validator.rows([dict.fromkeys(champion.validator.names, 2.0)])
    reply = reply_to(Question(columns, lambda _: Reply(b"")), champion, Prediction([1]))
    names = dict(reply.headers)[b"baton-unseen"].decode("ascii").split(",")
    assert names[:2] == ["gr%C3%B6%C3%9Fe%2C%200", "gr%C3%B6%C3%9Fe%2C%201"]
    assert len(names) == MOST_UNSEEN
