"""Packing: which runtime is chosen and why, and what a bundle then answers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from services.trainer.datasets import Datasets
from services.trainer.recipes import Catalogue
from services.trainer.settings import HEART_DISEASE
from shared.bundle import Manifest, unpack
from shared.errors import TrainingError
from shared.packing import GOLDEN_ROWS, MOST_CATEGORIES, Fitted, answers_of, inputs_of, output_of, pack
from shared.packing.conversion import convert
from shared.runtime.sklearn import SklearnRuntime
from shared.verification import VerifiedModel, verify
from tests.unit.shared.kit import COUNT, SPLIT, classes, fitted, pipeline, table

BUILT_IN = ["logistic-regression", "random-forest", "hist-gradient-boosting"]
COMPILED = "compiled: ONNX agrees with scikit-learn on all"


class Doubled(BaseEstimator, TransformerMixin):  # type: ignore[misc]
    """A transformer that no predictor has."""

    def fit(self, x: Any, y: Any = None) -> "Doubled":
        return self

    def transform(self, x: Any) -> Any:
        return x * 2


def pack_and_verify(model: Fitted, folder: Path) -> tuple[Manifest, VerifiedModel]:
    manifest = pack(model, folder / "bundle.tar")
    return manifest, verify(folder / "bundle.tar", folder / "model", manifest.digest())


def golden_of(folder: Path) -> dict[str, Any]:
    golden: dict[str, Any] = json.loads((folder / "model" / "golden.json").read_bytes())
    return golden


def recipe_on(table: pd.DataFrame, target: str, recipe: str, folder: Path) -> Fitted:
    """Fit a built-in recipe on a table, as the trainer does."""
    table.to_parquet(folder / "table.parquet")
    dataset = Datasets({}, [folder]).load("table.parquet", target)
    estimator = Catalogue().find(recipe).fit(dataset.training(seed=0))
    return Fitted(estimator, dataset.training(0).features, dataset.held_out_features)


def assert_answers_are_scikit_learns(model: Fitted, manifest: Manifest, verified: VerifiedModel) -> None:
    rows = pd.concat([model.held_out, model.training])
    columns = {name: [None if pd.isna(v) else v for v in rows[name]] for name in rows.columns}
    answer = verified.runtime.predict(manifest.arrays(columns))
    expected = model.estimator.predict(rows).tolist()
    assert answer.values == (expected if manifest.output.classes else pytest.approx(expected, rel=1e-4))
    if manifest.output.probabilities:
        assert answer.probabilities is not None
        np.testing.assert_allclose(answer.probabilities, model.estimator.predict_proba(rows), atol=1e-4)


@pytest.mark.parametrize("recipe", BUILT_IN)
def test_recipes_on_heart_disease_compile(tmp_path: Path, recipe: str) -> None:
    heart = Datasets({"heart-disease": HEART_DISEASE}, []).load("heart-disease", None)
    estimator = Catalogue().find(recipe).fit(heart.training(seed=0))
    model = Fitted(estimator, heart.training(0).features, heart.held_out_features)
    manifest, verified = pack_and_verify(model, tmp_path)
    assert manifest.runtime == "onnx"
    assert manifest.runtime_reason.startswith(COMPILED)
    assert (manifest.output.classes, manifest.output.probabilities) == ([0, 1], True)
    assert {column.name for column in manifest.inputs if not column.required} == {"ca", "thal"}
    assert_answers_are_scikit_learns(model, manifest, verified)


@pytest.mark.parametrize("recipe", BUILT_IN)
@pytest.mark.parametrize("missing", [False, True])
def test_recipes_on_several_classes_and_text(tmp_path: Path, recipe: str, missing: bool) -> None:
    rows = table(missing=missing)
    rows["kind"] = np.where(rows["x"].fillna(0) > 0.5, "a", np.where(rows["colour"] == "red", "b", "c"))
    model = recipe_on(rows, "kind", recipe, tmp_path)
    manifest, verified = pack_and_verify(model, tmp_path)
    assert manifest.output.classes == ["a", "b", "c"]
    assert manifest.runtime == "onnx"
    assert [column.type for column in manifest.inputs] == ["double", "double", "string"]
    assert_answers_are_scikit_learns(model, manifest, verified)


@pytest.mark.parametrize("recipe", BUILT_IN[1:])
def test_recipes_on_a_large_quantity(tmp_path: Path, recipe: str) -> None:
    rows = table()
    rows["price"] = 1e5 + 1e4 * rows["x"] + 3e3 * (rows["colour"] == "red")
    model = recipe_on(rows, "price", recipe, tmp_path)
    manifest, verified = pack_and_verify(model, tmp_path)
    assert (manifest.runtime, manifest.output.kind, manifest.output.classes) == ("onnx", "regression", [])
    assert_answers_are_scikit_learns(model, manifest, verified)


def test_boolean_classes_stay_boolean(tmp_path: Path) -> None:
    frame = table()
    manifest, verified = pack_and_verify(fitted(frame, LogisticRegression(), classes(frame) == 1), tmp_path)
    assert manifest.output.classes == [False, True]
    assert all(type(value) is bool for value in golden_of(tmp_path)["predictions"])
    assert verified.manifest == manifest


def test_an_estimator_without_probabilities_is_served_by_scikit_learn(tmp_path: Path) -> None:
    frame = table()
    manifest, _ = pack_and_verify(fitted(frame, LinearSVC(), classes(frame)), tmp_path)
    assert (manifest.runtime, manifest.output.probabilities) == ("sklearn", False)
    assert "no probabilities" in manifest.runtime_reason
    assert golden_of(tmp_path)["probabilities"] is None


def test_a_conversion_that_differs_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = table()
    model = fitted(frame, LogisticRegression(C=0.01), classes(frame))
    other = pipeline(LogisticRegression(C=100.0)).fit(frame[:SPLIT], classes(frame)[:SPLIT])
    monkeypatch.setattr("shared.packing.convert", lambda _, *rest: convert(other, *rest))
    manifest, verified = pack_and_verify(model, tmp_path)
    assert manifest.runtime == "sklearn"
    assert "rows are off" in manifest.runtime_reason
    assert_answers_are_scikit_learns(model, manifest, verified)


def test_what_cannot_be_converted_is_served_by_scikit_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = table()
    model = fitted(frame, GaussianNB(var_smoothing=1e-3), classes(frame))
    monkeypatch.setattr("shared.packing.convert", unknown_to_the_converter)
    manifest, _ = pack_and_verify(model, tmp_path)
    assert manifest.runtime == "sklearn"
    assert manifest.runtime_reason == "scikit-learn serves: ONNX conversion failed (NotImplementedError: unheard of)"


def unknown_to_the_converter(*_: object) -> bytes:
    raise NotImplementedError("unheard of")


@pytest.mark.parametrize(
    "estimator",
    [
        AdaBoostClassifier(n_estimators=3),
        CalibratedClassifierCV(GaussianNB(), cv=2),
        ExtraTreesClassifier(5, random_state=0),
        GaussianProcessClassifier(),
        GradientBoostingClassifier(n_estimators=5),
        KNeighborsClassifier(),
        KNeighborsClassifier(algorithm="ball_tree", metric="manhattan"),
        MLPClassifier((5,), max_iter=300, solver="lbfgs"),
        Pipeline([("best", SelectKBest(f_classif, k=2)), ("model", LogisticRegression())]),
        SVC(),
        StackingClassifier([("tree", DecisionTreeClassifier(max_depth=2)), ("nb", GaussianNB())], cv=2),
        VotingClassifier([("tree", DecisionTreeClassifier(max_depth=2)), ("nb", GaussianNB())], voting="soft"),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_what_is_scikit_learns_can_be_served(tmp_path: Path, estimator: Any) -> None:
    frame = table()
    model = fitted(frame, estimator, classes(frame))
    skops.io.dump(model.estimator, tmp_path / "model.skops")
    expected = answers_of(model.estimator, output_of(model.estimator), frame)
    answer = SklearnRuntime(tmp_path / "model.skops", output_of(model.estimator)).predict(
        {name: frame[name].to_numpy() for name in frame.columns}
    )
    assert answer.values == expected.values
    pack_and_verify(model, tmp_path)


def test_what_predictors_do_not_have_fails_at_training(tmp_path: Path) -> None:
    frame = table()[["x", "code"]]
    estimator = Pipeline([("double", Doubled()), ("model", LinearRegression())]).fit(frame[:SPLIT], frame["x"][:SPLIT])
    with pytest.raises(TrainingError, match="predictors do not load") as raised:
        pack(Fitted(estimator, frame[:SPLIT], frame[SPLIT:]), tmp_path / "bundle.tar")
    assert raised.value.kind == "unsupported"
    assert "Doubled" in str(raised.value)
    assert not (tmp_path / "bundle.tar").exists()


def test_golden_rows_are_training_rows_with_every_kind_of_gap(tmp_path: Path) -> None:
    rows = table(missing=True)
    rows["kind"] = np.where(rows["x"].fillna(0) > 0, "a", "b")
    model = recipe_on(rows, "kind", "random-forest", tmp_path)
    pack_and_verify(model, tmp_path)
    columns = golden_of(tmp_path)["columns"]
    golden = list(zip(*columns.values(), strict=True))
    assert len(golden) == GOLDEN_ROWS
    assert all(None in columns[name] for name in ("x", "colour"))
    assert any(None not in row for row in golden)
    trained = {tuple(None if pd.isna(v) else v for v in row) for row in model.training.itertuples(index=False)}
    assert set(golden) <= trained


@pytest.mark.parametrize(
    "estimator",
    [LogisticRegression(), RandomForestClassifier(5, random_state=0), HistGradientBoostingClassifier(max_iter=5)],
)
def test_the_same_model_packs_to_the_same_bytes(tmp_path: Path, estimator: Any) -> None:
    frame = table()
    model = fitted(frame, estimator, classes(frame))
    manifests = [pack(model, tmp_path / name) for name in ("one.tar", "two.tar")]
    assert manifests[0] == manifests[1]
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_a_bundle_names_no_model_and_no_version(tmp_path: Path) -> None:
    frame = table()
    manifest = pack(fitted(frame, LogisticRegression(), classes(frame)), tmp_path / "bundle.tar")
    assert unpack(tmp_path / "bundle.tar", tmp_path / "model", manifest.digest()) == manifest
    assert {"name", "version", "model"}.isdisjoint(manifest.model_dump())


def test_text_that_is_missing_in_held_out_rows_only_is_no_category(tmp_path: Path) -> None:
    frame = table()
    frame.loc[SPLIT + 3, "colour"] = np.nan
    model = fitted(frame, LogisticRegression(), classes(frame))
    manifest, verified = pack_and_verify(model, tmp_path)
    assert manifest.runtime == "onnx"
    assert not manifest.inputs[2].required
    assert_answers_are_scikit_learns(model, manifest, verified)


def test_the_manifest_says_what_training_saw_of_each_column() -> None:
    frame = table(missing=True)
    frame.loc[0, "code"] = np.inf
    frame.loc[COUNT - 1, "x"] = 1e6  # held out
    model = Fitted(None, frame[:SPLIT], frame[SPLIT:])
    x, code, colour = inputs_of(model)
    assert (x.minimum, x.maximum) == (model.training["x"].min(), model.training["x"].max())
    assert (code.minimum, code.maximum, code.categories) == (0.0, 3.0, None)
    assert (colour.categories, colour.minimum) == (["blue", "green", "red"], None)


def test_texts_that_are_too_many_to_be_categories_are_not_listed() -> None:
    texts = pd.DataFrame({"word": pd.Series([f"word {i}" for i in range(MOST_CATEGORIES + 1)], dtype=object)})
    assert inputs_of(Fitted(None, texts, texts))[0].categories is None
    assert inputs_of(Fitted(None, texts[1:], texts))[0].categories == sorted(texts["word"][1:])
    gone = pd.DataFrame({"gone": [np.nan, np.nan]})
    assert inputs_of(Fitted(None, gone, gone))[0].minimum is None
