"""Packing a fitted pipeline into a bundle: as ONNX where that gives scikit-learn's answers, else as skops.

scikit-learn's answers are the truth here: the golden answers are its own, and ONNX has to repeat them.
"""

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io

from shared.bundle import GOLDEN, MODEL_FILES, Column, Golden, Manifest, Output, RuntimeKind, file_digest, write
from shared.errors import TrainingError
from shared.packing.agreement import TOLERANCE, compare
from shared.packing.answers import answers_of, output_of
from shared.packing.conversion import convert
from shared.runtime import Prediction
from shared.runtime.onnx import OnnxRuntime
from shared.runtime.sklearn import ALLOWED_TYPES

__all__ = ["Fitted", "answers_of", "golden_of", "inputs_of", "output_of", "pack", "values_of", "write_bundle"]

GOLDEN_ROWS = 32
FEWEST_ROWS = 20  # fewer say little about where a converted model differs
LONGEST_REASON = 200
MOST_CATEGORIES = 100  # more texts than this are no categories that somebody would read
LIBRARIES = ("scikit-learn", "numpy", "onnxruntime", "skl2onnx", "skops", "pandas")


@dataclass(frozen=True)
class Fitted:
    """A fitted estimator with rows for golden answers, and further ones, held out, for the comparison with ONNX.

    Without `inputs`, numeric columns are floats, all others objects that hold text; what is missing is NaN in both.
    """

    estimator: Any
    training: pd.DataFrame
    held_out: pd.DataFrame
    inputs: list[Column] | None = None


def pack(fitted: Fitted, archive: Path) -> Manifest:
    """Write a bundle; raise `TrainingError` (`unsupported`) for a model that predictors could not load."""
    inputs, output = fitted.inputs or inputs_of(fitted), output_of(fitted.estimator)
    golden_rows = _golden_rows(fitted.training)
    dumped = _dump(fitted.estimator)  # also where ONNX serves: MLflow's users load the estimator itself
    compiled, reason = _compile(fitted.estimator, inputs, output, pd.concat([fitted.held_out, golden_rows]))
    kind: RuntimeKind = "onnx" if compiled else "sklearn"
    golden = golden_of(golden_rows, answers_of(fitted.estimator, output, golden_rows))
    return write_bundle(archive, compiled or dumped, golden, inputs=inputs, output=output, kind=kind, reason=reason)


def write_bundle(
    archive: Path, model: bytes, golden: Golden, *, inputs: list[Column], output: Output, kind: RuntimeKind, reason: str
) -> Manifest:
    """Write a bundle of a model file; `reason` says why it has that runtime."""
    files = {GOLDEN: golden.model_dump_json().encode(), MODEL_FILES[kind]: model}
    manifest = Manifest(
        inputs=inputs,
        output=output,
        runtime=kind,
        runtime_reason=reason,
        tolerance=TOLERANCE,
        libraries={name: importlib.metadata.version(name) for name in LIBRARIES},
        files={name: file_digest(content) for name, content in files.items()},
    )
    write(archive, manifest, files)
    return manifest


def inputs_of(fitted: Fitted) -> list[Column]:
    """Return the columns of a model; one that had missing values may be left out of a request."""
    rows = pd.concat([fitted.training, fitted.held_out])
    return [
        Column(
            name=str(name),
            type="string" if rows[name].dtype == object else "double",
            required=not bool(rows[name].isna().any()),
            **_seen(fitted.training[name]),
        )
        for name in rows.columns
    ]


def _seen(values: pd.Series) -> dict[str, Any]:
    """Return the range of a column's numbers, or its texts if they are few enough to be categories."""
    known = values.dropna()
    if values.dtype == object:
        texts = sorted(known.unique())
        return {"categories": texts} if len(texts) <= MOST_CATEGORIES else {}
    known = known[np.isfinite(known)]
    return {"minimum": float(known.min()), "maximum": float(known.max())} if len(known) else {}


def _golden_rows(training: pd.DataFrame) -> pd.DataFrame:
    """Take a few of the training rows: for each column one that misses it, if there is one, then the first ones."""
    missing = training.isna()
    chosen = dict.fromkeys(missing[name].idxmax() for name in training.columns if missing[name].any())
    return training.loc[list(dict.fromkeys([*chosen, *training.index]))[:GOLDEN_ROWS]]


def golden_of(rows: pd.DataFrame, answer: Prediction) -> Golden:
    """Write down a model's answers to rows."""
    return Golden(
        columns={str(name): values_of(rows[name]) for name in rows.columns},
        predictions=answer.values,
        probabilities=None if answer.probabilities is None else answer.probabilities.tolist(),
    )


def values_of(column: pd.Series) -> list[Any]:
    """Return a column's values, None where one is missing."""
    return [None if missing else value for value, missing in zip(column.tolist(), column.isna(), strict=True)]


def _dump(estimator: Any) -> bytes:
    content: bytes = skops.io.dumps(estimator)
    refused = sorted(set(skops.io.get_untrusted_types(data=content)) - ALLOWED_TYPES)
    if refused:
        raise TrainingError(
            f"predictors do not load {', '.join(refused)}: use transformers and estimators of scikit-learn itself",
            kind="unsupported",
        )
    return content


def _compile(estimator: Any, inputs: list[Column], output: Output, rows: pd.DataFrame) -> tuple[bytes | None, str]:
    """Return the pipeline as ONNX if it agrees with scikit-learn on the rows and on others made of them, and why."""
    if output.kind == "classification" and not output.probabilities:
        return None, "scikit-learn serves: the estimator has no probabilities to compile"
    if len(rows) < FEWEST_ROWS:
        return (
            None,
            f"scikit-learn serves: {len(rows)} rows are too few to compare ONNX with it, {FEWEST_ROWS} would do",
        )
    columns = {column.name: column.array(values_of(rows[column.name])) for column in inputs}
    try:
        content = convert(estimator, inputs, output)
        compared = compare(OnnxRuntime(content, output), (estimator, output), inputs, columns)
    except Exception as error:  # whatever a converter raises for what it does not know, or a graph that does not run
        return None, f"scikit-learn serves: ONNX conversion failed ({type(error).__name__}: {_first_line(error)})"
    if compared.fault is not None:
        return None, f"scikit-learn serves: compiled, {compared.fault}"
    return content, f"compiled: ONNX agrees with scikit-learn on all {compared}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:LONGEST_REASON]
