"""Every system is asked in its own words, and its answer is read back as the probabilities of class 1."""

from typing import Any

import orjson
import pytest

from benchmarks.serving.dialects import DIALECTS
from benchmarks.serving.systems import KINDS

ROWS = [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}]
PAIRS = [[0.75, 0.25], [0.5, 0.5]]

ANSWERS: dict[str, Any] = {
    "baton": {"predictions": [{"probabilities": {"0": no, "1": yes}} for no, yes in PAIRS]},
    "limit": PAIRS,
    "constant": PAIRS,
    "mlflow": {"predictions": PAIRS},
    "fastapi": PAIRS,
    "bentoml": PAIRS,
    "litserve": {"probabilities": PAIRS},
    "mlserver": {"outputs": [{"data": [0.75, 0.25, 0.5, 0.5]}]},
}


def body_of(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[2]


def test_every_system_has_a_dialect() -> None:
    assert set(DIALECTS) == set(KINDS) == set(ANSWERS)


@pytest.mark.parametrize("system", list(DIALECTS))
def test_an_answer_is_read_as_the_probabilities_of_class_1(system: str) -> None:
    assert DIALECTS[system].answer(orjson.dumps(ANSWERS[system])) == [0.25, 0.5]


def test_baton_answers_one_row_by_itself() -> None:
    one = {"prediction": 1, "probabilities": {"0": 0.25, "1": 0.75}}
    assert DIALECTS["baton"].answer(orjson.dumps(one)) == [0.75]


@pytest.mark.parametrize("system", list(DIALECTS))
@pytest.mark.parametrize("rows", [ROWS[:1], ROWS])
def test_a_request_says_how_long_it_is(system: str, rows: list[dict[str, float]]) -> None:
    request = DIALECTS[system].request(rows, "heart")
    assert request.startswith(b"POST /")
    assert b"content-length: %d\r\n" % len(body_of(request)) in request


@pytest.mark.parametrize(
    ("system", "path", "asked"),
    [
        ("baton", "/models/heart/predict", ROWS),
        ("limit", "/", [[1.0, 2.0], [3.0, 4.0]]),
        ("mlflow", "/invocations", {"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 2.0], [3.0, 4.0]]}}),
        ("fastapi", "/predict", ROWS),
        ("bentoml", "/predict", {"rows": ROWS}),
        ("litserve", "/predict", {"rows": ROWS}),
    ],
)
def test_a_system_is_asked_in_its_own_words(system: str, path: str, asked: Any) -> None:
    request = DIALECTS[system].request(ROWS, "heart")
    assert request.startswith(f"POST {path} HTTP/1.1\r\n".encode())
    assert orjson.loads(body_of(request)) == asked


def test_mlserver_is_asked_by_one_tensor_per_column() -> None:
    asked = orjson.loads(body_of(DIALECTS["mlserver"].request(ROWS, "heart")))
    assert [(tensor["name"], tensor["shape"], tensor["data"]) for tensor in asked["inputs"]] == [
        ("a", [2, 1], [1.0, 3.0]),
        ("b", [2, 1], [2.0, 4.0]),
    ]


@pytest.mark.parametrize("answer", [{}, {"error": "no"}])
@pytest.mark.parametrize("system", [name for name, answer in ANSWERS.items() if isinstance(answer, dict)])
def test_an_answer_without_probabilities_is_none(system: str, answer: Any) -> None:
    with pytest.raises((KeyError, TypeError)):
        DIALECTS[system].answer(orjson.dumps(answer))
