"""Steps before the model, compiled: unseen, missing and strange values are what scikit-learn makes of them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from shared.bundle import Columns
from shared.packing import answers_of, output_of
from shared.runtime.onnx import MISSING, OTHER
from shared.runtime.sklearn import frame_of
from tests.unit.shared.packing.kit import assert_close, both, compiled, numbers, text, weighed

SEEN: Columns = {"a": numbers(1.0, 1.5, 2.0, -3.0, 2.0), "b": numbers(0.1, 7.0, 7.0, 0.1, 1e9)}
GAPS: Columns = {"a": numbers(1.0, 1.5, None, -3.0, None), "b": numbers(0.1, 7.0, 7.0, None, 1e9)}
ASKED: Columns = {
    "a": numbers(1.0, 1.5, 1.2, 1.9999999999, None, np.nextafter(2.0, 3), -3.0, 0.0, 1e30),
    "b": numbers(0.1, 0.1 + 1e-12, 7.0, 7.5, None, 1e9, 1e9 + 1, -1e30, 0.0),
}
TEXTS: Columns = {"a": text("red", "blue", "näive", "red", ""), "b": text("x", "y", "z", "x", "x")}
TEXT_GAPS: Columns = {"a": text("red", None, "näive", "red", ""), "b": text("x", "y", None, None, "x")}
ASKED_TEXTS: Columns = {
    "a": text("red", "Red", "red ", "red\0", "näive", "naïve", "", "nan", "None", None, MISSING),
    "b": text("x", "xx", None, "z", "y", "x", "x", "nan", "unseen", "None", OTHER),
}


def assert_alike(step: Any, training: Columns, asked: Columns) -> None:
    assert_close(*both(weighed(step, training), asked))


@pytest.mark.parametrize(
    "imputer",
    [
        SimpleImputer(),
        SimpleImputer(strategy="median"),
        SimpleImputer(strategy="most_frequent"),
        SimpleImputer(strategy="constant", fill_value=0.1),
        SimpleImputer(missing_values=7.0),
    ],
    ids=lambda imputer: f"{imputer.strategy} {imputer.missing_values}",
)
def test_numbers_are_imputed_in_double(imputer: SimpleImputer) -> None:
    is_nan = np.isnan(imputer.missing_values)
    asked = {name: values if is_nan else np.nan_to_num(values) for name, values in ASKED.items()}
    assert_alike(imputer, GAPS if is_nan else SEEN, asked)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.filterwarnings("ignore:Skipping features without any observed values")
def test_a_column_that_never_had_a_value_is_left_out_or_kept_as_scikit_learn_does(keep: bool) -> None:
    training = {**GAPS, "gone": np.full(5, np.nan)}
    asked = {**ASKED, "gone": np.resize([1.0, np.nan], 9)}
    assert_alike(SimpleImputer(keep_empty_features=keep), training, asked)


@pytest.mark.parametrize("strategy", ["most_frequent", "constant"])
def test_texts_are_imputed_where_they_are_missing_and_nowhere_else(strategy: str) -> None:
    imputer = SimpleImputer(strategy=strategy, fill_value="y" if strategy == "constant" else None)
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    assert_alike(Pipeline([("impute", imputer), ("encode", encoder)]), TEXT_GAPS, ASKED_TEXTS)


@pytest.mark.parametrize("drop", [None, "first", "if_binary"])
@pytest.mark.parametrize(
    ("training", "asked"), [(SEEN, ASKED), (GAPS, ASKED), (TEXTS, ASKED_TEXTS), (TEXT_GAPS, ASKED_TEXTS)]
)
@pytest.mark.filterwarnings("ignore:Found unknown categories")
def test_a_category_is_one_that_was_seen_or_none(drop: str | None, training: Columns, asked: Columns) -> None:
    assert_alike(OneHotEncoder(handle_unknown="ignore", drop=drop, sparse_output=False), training, asked)


@pytest.mark.parametrize("missing", [-2, np.nan])
@pytest.mark.parametrize(
    ("training", "asked"), [(SEEN, ASKED), (GAPS, ASKED), (TEXTS, ASKED_TEXTS), (TEXT_GAPS, ASKED_TEXTS)]
)
def test_a_code_is_that_of_the_category_or_the_one_for_unknown_ones(
    missing: float, training: Columns, asked: Columns
) -> None:
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=missing)
    filled = Pipeline([("encode", encoder), ("fill", SimpleImputer(strategy="constant", fill_value=-7.5))])
    assert_alike(filled, training, asked)


@given(st.lists(st.text(max_size=3) | st.sampled_from([MISSING, OTHER]) | st.none(), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
@example([MISSING, OTHER, None])
def test_no_text_is_taken_for_another(texts: list[str | None]) -> None:
    asked = {"a": text(*texts), "b": text(*["x"] * len(texts))}
    own = answers_of(TEXT_MODEL, output_of(TEXT_MODEL), frame_of(asked))
    assert_close(TEXT_MODEL_COMPILED.predict(asked), own)


TEXT_MODEL = weighed(OneHotEncoder(handle_unknown="ignore", sparse_output=False), TEXT_GAPS)
TEXT_MODEL_COMPILED = compiled(TEXT_MODEL, TEXT_GAPS)


@pytest.mark.parametrize(
    "step",
    [
        SimpleImputer(add_indicator=True),
        OneHotEncoder(min_frequency=2, handle_unknown="infrequent_if_exist", sparse_output=False),
        OrdinalEncoder(min_frequency=2),
    ],
    ids=lambda step: type(step).__name__,
)
def test_what_is_not_compiled_says_so(step: Any) -> None:
    with pytest.raises(NotImplementedError, match=type(step).__name__):
        compiled(weighed(step, GAPS), GAPS)


@pytest.mark.parametrize("stands_for_others", [MISSING, OTHER])
def test_a_category_that_stands_for_others_is_not_compiled(stands_for_others: str) -> None:
    training: Columns = {"a": text("red", stands_for_others, None)}
    with pytest.raises(NotImplementedError, match="stands for others"):
        compiled(weighed(OneHotEncoder(sparse_output=False), training), training)


def test_numbers_and_texts_may_have_the_names_of_the_graphs_own_tensors() -> None:
    training = {name: numbers(1.0, 2.0, 3.0) for name in ("values", "variable", "constant", "baton_numbers", "x 1")}
    model = LinearRegression().fit(frame_of(training), [1.0, 2.0, 3.0])
    named = make_pipeline(ColumnTransformer([("all", "passthrough", [*training][::-1])]), LinearRegression())
    for estimator in (model, named.fit(frame_of(training), [1.0, 2.0, 3.0])):
        assert_close(*both(estimator, training))
