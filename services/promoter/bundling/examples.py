"""Rows to take golden answers from: a model's input example, or data that a version's tag names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.types.schema import DataType

from shared.errors import BundleError
from shared.runtime.sklearn import positional
from shared.versions import TAG_GOLDEN

MISSING = (
    "it has no input example to take golden answers from: log it with `input_example=`, or name an artifact of its run "
    f"with rows (csv, parquet or json) in the version's tag `{TAG_GOLDEN}`"
)


def read_rows(folder: Path, model: Model, golden: Path | None) -> pd.DataFrame:
    """Return the model's inputs as a table with one row or more; raise `BundleError` (`golden`) if there are none."""
    table = _read(golden, _texts(model)) if golden else _input_example(folder, model)
    if table.empty:
        raise BundleError(f"{golden.name if golden else 'its input example'} has no rows", "golden")
    return table


def _input_example(folder: Path, model: Model) -> pd.DataFrame:
    try:
        example = model.load_input_example(str(folder))
    except (MlflowException, OSError, ValueError, KeyError) as error:
        raise BundleError(f"its input example cannot be read: {error}", "golden") from error
    if example is None:
        raise BundleError(MISSING, "golden")
    return table_of(example)


def table_of(example: Any) -> pd.DataFrame:
    """Return an input example as a table; the columns of an array are called x0, x1 and so on."""
    if isinstance(example, pd.DataFrame):
        return example.rename(columns=str)
    if isinstance(example, dict):
        scalar = not any(isinstance(value, list | np.ndarray) for value in example.values())
        return pd.DataFrame([example] if scalar else example)
    if isinstance(example, list) and example and all(isinstance(row, dict) for row in example):
        return pd.DataFrame(example)
    array = np.atleast_2d(np.asarray(example.todense() if hasattr(example, "todense") else example))
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise BundleError(f"its input example is a {type(example).__name__}, not a table of rows", "golden")
    return pd.DataFrame(array, columns=positional(array.shape[1]))


def _texts(model: Model) -> list[str]:
    """Return the inputs that are text, whatever a file's values look like."""
    schema = model.signature.inputs if model.signature else None
    return [str(column.name) for column in schema or () if column.type == DataType.string]


def _read(path: Path, texts: list[str]) -> pd.DataFrame:
    readers: dict[str, Callable[[], pd.DataFrame]] = {
        ".csv": lambda: pd.read_csv(path, dtype=dict.fromkeys(texts, str)),
        ".parquet": lambda: pd.read_parquet(path),
        ".json": lambda: pd.read_json(path, dtype=dict.fromkeys(texts, str)),
    }
    read = readers.get(path.suffix)
    if read is None:
        raise BundleError(f"the tag {TAG_GOLDEN} names {path.name}: it has to end in {', '.join(readers)}", "golden")
    try:
        return read().rename(columns=str)
    except Exception as error:  # whatever a reader raises for a file that is something else
        raise BundleError(
            f"{path.name}, which the tag {TAG_GOLDEN} names, cannot be read: {error}", "golden"
        ) from error
