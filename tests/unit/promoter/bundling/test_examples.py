"""Rows to check a model by: from input examples of every form, and from files that a tag names."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.models import Model
from mlflow.models.signature import ModelSignature
from mlflow.types import ColSpec, Schema

from services.promoter.bundling.examples import MISSING, read_rows, table_of
from shared.errors import BundleError

MODEL = Model(signature=ModelSignature(inputs=Schema([ColSpec("string", "code"), ColSpec("double", "x")])))


@pytest.mark.parametrize(
    "example",
    [
        pd.DataFrame({"x0": [1.0], "x1": [2.0]}),
        np.array([[1.0, 2.0]]),
        np.array([1.0, 2.0]),
        [[1.0, 2.0]],
        {"x0": 1.0, "x1": 2.0},
        {"x0": [1.0], "x1": [2.0]},
        [{"x0": 1.0, "x1": 2.0}],
    ],
    ids=["DataFrame", "matrix", "vector", "list", "object", "columns", "objects"],
)
def test_every_form_becomes_a_table(example: Any) -> None:
    assert table_of(example).to_dict("list") == {"x0": [1.0], "x1": [2.0]}


@pytest.mark.parametrize("example", [np.zeros((2, 2, 2)), "text", np.array([["a", None]], dtype=object)])
def test_what_is_no_table_is_refused(example: Any) -> None:
    with pytest.raises(BundleError, match="not a table of rows") as refused:
        table_of(example)
    assert refused.value.check == "golden"


def test_codes_of_digits_stay_text(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("code,x,target\n007,1,0\n")
    assert read_rows(tmp_path, MODEL, tmp_path / "rows.csv")["code"].tolist() == ["007"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.xlsx", "", r"the tag baton.golden names rows.xlsx: it has to end in .csv, .parquet, .json"),
        ("rows.csv", "", "rows.csv, which the tag baton.golden names, cannot be read: No columns"),
        ("rows.parquet", "code,x\n", "rows.parquet, which the tag baton.golden names, cannot be read"),
        ("rows.json", "{", "rows.json, which the tag baton.golden names, cannot be read"),
        ("rows.csv", "code,x\n", "rows.csv has no rows"),
    ],
)
def test_a_file_that_is_of_no_use_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(BundleError, match=message) as refused:
        read_rows(tmp_path, MODEL, tmp_path / name)
    assert refused.value.check == "golden"


def test_a_model_without_an_example_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as refused:
        read_rows(tmp_path, Model(), None)
    assert str(refused.value) == MISSING
