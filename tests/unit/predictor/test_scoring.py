"""How MLflow's requests are read: as MLflow does, in little time and memory whatever they hold."""

import io
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.predictor.routes.protocol import Call
from services.predictor.routes.scoring import columns_of, with_null
from services.predictor.routes.table import columns_of_csv
from services.predictor.validator import Validator
from shared.bundle import Column
from tests import bundles
from tests.unit.predictor.api import Predictor

COUNTED = [{"name": "n", "type": "long"}, {"name": "x", "type": "double"}]
FLOATING: list[Any] = [
    {"dataframe_split": {"columns": ["n", "x"], "data": [[63.0, 1.0], [-2, 1.5]]}},
    {"dataframe_records": [{"n": 63.0, "x": 1.0}, {"n": -2, "x": 1.5}]},
    {"instances": [{"n": 63.0, "x": 1.0}, {"n": -2, "x": 1.5}]},
    {"inputs": {"n": [63.0, -2], "x": [1.0, 1.5]}},
    "n,x\n63.0,1\n-2,1.5\n",
]


@pytest.mark.filterwarnings("ignore::UserWarning")  # of importing MLflow
@pytest.mark.parametrize("body", FLOATING)
def test_scoring_takes_the_whole_floats_that_mlflow_takes(body: Any) -> None:
    from mlflow.pyfunc.scoring_server import infer_and_parse_data, parse_csv_input
    from mlflow.types import ColSpec, Schema

    validator = Validator([Column.model_validate(column) for column in COUNTED]).lenient
    schema = Schema([ColSpec("long", "n"), ColSpec("double", "x")])
    if isinstance(body, str):
        columns = validator.columns(columns_of_csv(Call(body.encode()), validator.inputs, 9))
        theirs = parse_csv_input(io.StringIO(body), schema)
    else:
        columns, theirs = columns_of(body, validator, 9), infer_and_parse_data(body, schema)
    assert [*columns["n"]] == [*theirs["n"]] == [63, -2]


@pytest.mark.timeout(30)  # hours if each quote were looked at again
async def test_a_text_that_never_ends_holds_nobody_up(tmp_path: Path) -> None:
    predictor = Predictor(tmp_path, max_body_bytes=10_000_000)
    predictor.serve("heart", bundles.classifier(tmp_path, 0.25))
    for text in (b'\\"' * 500_000, b'"\\' + b"\n" * 500_000, b'""' * 500_000 + b'"\\'):
        answer = await predictor.client.post("/invocations", content=b'NaN "' + text)
        assert answer.status_code == 400


PLAIN = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|\bNaN\b', re.DOTALL)


@given(st.lists(st.sampled_from([b'"', b"\\", b"NaN", b"N", b"a", b"\n", b",", b"\xff"])).map(b"".join))
def test_nan_is_replaced_where_a_plainer_search_finds_it(body: bytes) -> None:
    assert with_null(body) == PLAIN.sub(lambda found: b"null" if found[0] == b"NaN" else found[0], body)


@pytest.mark.parametrize("texts", [b"a" * 1_000_000, b"\\n" * 500_000, b'","' * 300_000])
def test_texts_take_no_memory_to_pass(texts: bytes) -> None:
    body = b'["' + texts + b'", NaN]'
    tracemalloc.start()
    assert with_null(body).endswith(b'", null]')
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * len(body)


async def test_no_more_of_a_table_is_read_than_is_taken(tmp_path: Path) -> None:
    predictor = Predictor(tmp_path, max_body_bytes=10_000_000)
    predictor.serve("heart", bundles.classifier(tmp_path, 0.25))
    headers, body = {"content-type": "text/csv"}, b"x\n" * 500_000
    tracemalloc.start()
    answer = await predictor.client.post("/invocations", content=body, headers=headers)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (answer.status_code, answer.json()["message"]) == (
        422,
        "the request has more than 65 rows: it is 'more than 65', expected at most 65 rows in one request",
    )
    assert peak < 4 * len(body)
