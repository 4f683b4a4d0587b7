"""Two models on the same held-out rows."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.promoter.judging.scoring import Holdout, compare, read_holdout
from shared.bundle import Column, Columns, Manifest, Output
from shared.errors import ComparisonError
from shared.runtime import Prediction, from_probabilities
from shared.verification import VerifiedModel

LABELS = Output(kind="classification", classes=["no", "yes"], probabilities=True)


class Threshold:
    """Says yes where x is above a threshold."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold

    def predict(self, columns: Columns) -> Prediction:
        yes = (columns["x"] > self._threshold).astype(float)
        return from_probabilities(np.column_stack([1 - yes, yes]), LABELS)


def model(threshold: float = 0.0, inputs: tuple[str, ...] = ("x",), output: Output = LABELS) -> VerifiedModel:
    manifest = Manifest(
        inputs=[Column(name=name, type="double") for name in inputs], output=output, runtime="sklearn",
        runtime_reason="", tolerance=1e-5, libraries={}, files={},
    )  # fmt: skip
    return VerifiedModel(manifest, Threshold(threshold), 0.0, 0.0)


HOLDOUT = Holdout({"x": [-1.0, 1.0, 2.0, None]}, ["no", "yes", "yes", "no"])


def test_both_answer_the_same_rows() -> None:
    scores = compare(model(0.0), model(1.5), HOLDOUT, 0)
    assert scores.task == "classification"
    assert scores.challenger["accuracy"] == 1.0
    assert scores.champion is not None
    assert scores.champion["accuracy"] == 0.75


def test_without_a_champion() -> None:
    assert compare(model(), None, HOLDOUT, 0).champion is None


@pytest.mark.parametrize(
    ("champion", "holdout", "reason"),
    [
        (model(inputs=("x", "y")), HOLDOUT, "the champion needs 'y', which the challenger's held-out rows do not have"),
        (model(output=Output(kind="regression")), HOLDOUT, "the champion is a regression model, the challenger is not"),
        (
            model(output=LABELS.model_copy(update={"classes": ["no", "ja"]})), HOLDOUT,
            "the champion does not fit .*: the rows hold classes that the model does not know: yes",
        ),
        (model(), Holdout({"x": ["a", "b"]}, ["no", "yes"]), "the challenger does not fit .*: could not convert"),
    ],
)  # fmt: skip
def test_models_that_cannot_be_compared(champion: VerifiedModel, holdout: Holdout, reason: str) -> None:
    with pytest.raises(ComparisonError, match=reason):
        compare(model(), champion, holdout, 0)


@pytest.mark.parametrize("metadata", [None, {"baton.target": "label"}])
def test_held_out_rows_are_read_with_their_target(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    names = ["label", "x"] if metadata else ["x", "label"]
    table = pa.table({name: {"label": ["no", "yes"], "x": [1.0, None]}[name] for name in names})
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "rows.parquet")
    assert read_holdout(tmp_path / "rows.parquet") == Holdout({"x": [1.0, None]}, ["no", "yes"])
