"""Data sets: what may be read, and how a table is cleaned."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from services.trainer.datasets import Dataset, Datasets
from services.trainer.holdout import is_held_out
from services.trainer.settings import HEART_DISEASE, DatasetSettings
from shared.errors import RequestError

ROWS = 100
TWO_CLASSES = ["a", "b"] * (ROWS // 2)


def write(folder: Path, columns: dict[str, Any], name: str = "t.csv") -> Path:
    path = folder / name
    frame = pd.DataFrame({"x": np.arange(float(ROWS)), **columns})
    frame.to_csv(path, index=False) if name.endswith(".csv") else frame.to_parquet(path, index=False)
    return path


def load(path: Path, target: str = "y") -> Dataset:
    return Datasets({}, [path.parent]).load(str(path), target)


def test_heart_disease_is_built_in() -> None:
    heart = Datasets({"heart-disease": HEART_DISEASE}, []).load("heart-disease", None)
    assert (heart.name, heart.task, len(heart.features), heart.dropped) == ("heart-disease", "classification", 303, 0)
    assert heart.categorical == ["cp", "restecg", "slope", "thal"]
    assert heart.target_name == "target"
    assert set(map(str, heart.features.dtypes)) == {"float64"}
    assert heart.features["ca"].isna().sum() == 4
    assert 40 < heart.held_out.sum() < 80
    assert len(heart.training(0).features) + len(heart.held_out_features) == 303


def test_a_path_under_a_root_may_be_read_whichever_way_it_is_written(tmp_path: Path) -> None:
    write(tmp_path, {"y": TWO_CLASSES})
    datasets = Datasets({}, [tmp_path])
    for name in (str(tmp_path / "t.csv"), "t.csv", f"{tmp_path}/../{tmp_path.name}/t.csv"):
        assert datasets.load(name, "y").name == "t"


def test_what_is_outside_the_roots_is_refused(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    secret = write(outside, {"y": TWO_CLASSES})
    (inside / "link.csv").symlink_to(secret)
    for name in (
        str(secret),
        str(inside / "link.csv"),
        f"{inside}/../out/t.csv",
        "../out/t.csv",
        "file://" + str(secret),
    ):
        with pytest.raises(RequestError, match="there is no dataset") as raised:
            Datasets({"heart-disease": HEART_DISEASE}, [inside]).load(name, "y")
        assert raised.value.field == "dataset"
        assert "heart-disease" in str(raised.value)


def test_a_named_dataset_may_be_a_url(tmp_path: Path) -> None:
    url = write(tmp_path, {"y": TWO_CLASSES}).as_uri()
    far = Datasets({"far": DatasetSettings(path=url, target="y")}, []).load("far", None)
    assert (far.name, far.source) == ("far", url)


@pytest.mark.parametrize("name", ["t.txt", "t.csv", "t.parquet"])
def test_what_is_no_table_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(RequestError, match="table"):
        load(tmp_path / name)


@pytest.mark.parametrize(
    ("values", "task", "kind"),
    [
        (TWO_CLASSES, "classification", "object"),
        ([True, False] * 50, "classification", "bool"),
        ([0, 1, 2, 3] * 25, "classification", "int64"),
        ([0.0, 1.0] * 50, "classification", "int64"),
        ([0.5, 1.5] * 50, "regression", "float64"),
        (list(range(100)), "regression", "float64"),
    ],
)
@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_the_target_decides_the_task(tmp_path: Path, values: list[Any], task: str, kind: str, name: str) -> None:
    dataset = load(write(tmp_path, {"y": values}, name))
    assert (dataset.task, str(dataset.target.dtype)) == (task, kind)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (list(range(100)), "float64"),
        ([True, False] * 50, "float64"),
        ([True, None] * 50, "float64"),
        ([Decimal("1.5"), None] * 50, "float64"),
        ([None] * 100, "float64"),
        (["red", None] * 50, "object"),
        (pd.Categorical(["red", "blue"] * 50), "object"),
        (pd.array([1, None] * 50, dtype="Int64"), "float64"),
    ],
)
def test_columns_are_numbers_or_text(tmp_path: Path, values: Any, kind: str) -> None:
    column = load(write(tmp_path, {"c": values, "y": TWO_CLASSES}, "t.parquet")).features["c"]
    assert str(column.dtype) == kind
    assert all(type(value) is (str if kind == "object" else float) for value in column.dropna())
    assert column.isna().tolist() == pd.Series(values).isna().tolist()


def test_a_named_dataset_says_what_its_columns_are(tmp_path: Path) -> None:
    path = write(tmp_path, {"code": [1, 2] * 50, "size": ["1.5", "n/k"] * 50, "y": TWO_CLASSES})
    settings = DatasetSettings(path=str(path), target="y", categorical=["code"], numeric=["size"])
    dataset = Datasets({"own": settings}, []).load("own", None)
    assert dataset.categorical == ["code"]
    assert dataset.features["size"].isna().sum() == 50


def test_rows_without_a_target_are_left_out(tmp_path: Path) -> None:
    dataset = load(write(tmp_path, {"y": ["a", "b", None, "a"] * 25}))
    assert (len(dataset.features), dataset.dropped) == (75, 25)


def test_a_row_keeps_its_side_whichever_way_its_table_is_stored(tmp_path: Path) -> None:
    columns = {"whole": range(ROWS), "text": ["red", None] * 50, "y": TWO_CLASSES}
    sides = [load(write(tmp_path, columns, name)).held_out.tolist() for name in ("t.csv", "t.parquet")]
    assert sides[0] == sides[1]


@pytest.mark.parametrize(
    ("target", "values", "field", "words"),
    [
        ("y", ["a"] * ROWS, "target", "fewer than two classes"),
        ("y", ["a", *[None] * (ROWS - 1)], "dataset", "at least 20"),
        ("z", TWO_CLASSES, "target", "it has x, y"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(
    tmp_path: Path, target: str, values: list[Any], field: str, words: str
) -> None:
    with pytest.raises(RequestError, match=words) as raised:
        load(write(tmp_path, {"y": values}), target)
    assert raised.value.field == field


def test_a_class_of_held_out_rows_only_is_refused(tmp_path: Path) -> None:
    rare = [[*TWO_CLASSES[:row], "rare", *TWO_CLASSES[row + 1 :]] for row in range(ROWS)]
    x = np.arange(float(ROWS))
    held_out = (y for row, y in enumerate(rare) if is_held_out(pd.DataFrame({"x": x, "y": y}))[row])
    path = write(tmp_path, {"y": next(held_out)})
    with pytest.raises(RequestError, match="too rare to train on: rare") as raised:
        load(path)
    assert raised.value.field == "target"


def test_equal_rows_cannot_be_held_out(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="too few different rows"):
        load(write(tmp_path, {"x": [1.0] * ROWS, "y": ["a"] * ROWS}))


def test_a_dataset_without_a_target_needs_one_in_the_request() -> None:
    with pytest.raises(RequestError, match="name one in the request") as raised:
        Datasets({"own": DatasetSettings(path=HEART_DISEASE.path)}, []).load("own", None)
    assert raised.value.field == "target"
