"""Rows against a model's inputs: every fault is named, and nothing but a fault is refused."""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.predictor import shapes
from services.predictor.refusals import Fault, fault
from services.predictor.routes import scoring
from services.predictor.routes.native import EXPECTED, columns_of
from services.predictor.validator import Validator
from shared.bundle import Column, Columns
from shared.errors import InputError

INPUTS = [
    Column(name="age", type="double"),
    Column(name="thal", type="double", required=False),
    Column(name="small", type="float", required=False),
    Column(name="count", type="long", required=False),
    Column(name="flag", type="boolean"),
    Column(name="colour", type="string"),
    Column(name="note", type="string", required=False),
]
VALIDATOR = Validator(INPUTS)
GOOD: dict[str, Any] = {"age": 63, "thal": 1.5, "small": 1, "count": 3, "flag": True, "colour": "red", "note": None}


def columns_in(body: Any, max_rows: int = 100) -> Columns:
    return columns_of(body, VALIDATOR, max_rows)


def faults(body: Any, max_rows: int = 100) -> list[dict[str, object]]:
    with pytest.raises(InputError) as refused:
        columns_in(body, max_rows)
    assert refused.value.faults
    return refused.value.faults


def test_columns_have_the_inputs_order_and_types() -> None:
    columns = columns_in([GOOD, GOOD | {"age": 1.5, "thal": None, "note": "x"}])
    assert list(columns) == [column.name for column in INPUTS]
    kinds = {name: values.dtype.type for name, values in columns.items()}
    assert kinds["age"] is np.float64
    assert kinds["small"] is np.float32
    assert kinds["count"] is np.int64
    assert kinds["flag"] is np.bool_
    assert columns["age"].tolist() == [63.0, 1.5]
    assert np.isnan(columns["thal"][1])
    assert columns["note"].tolist() == [None, "x"]


def test_an_optional_field_may_be_left_out() -> None:
    columns = columns_in([{name: GOOD[name] for name in GOOD if name not in {"thal", "note"}}])
    assert np.isnan(columns["thal"]).all()
    assert columns["note"].tolist() == [None]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("age", "63", "a number"),
        ("age", True, "a number"),
        ("age", None, "a number"),
        ("age", [63], "a number"),
        ("age", math.nan, "a number"),
        ("age", math.inf, "a number"),
        ("age", 10**400, "a number"),
        ("age", 1e39, "a number"),
        ("thal", "1", "a number, or null"),
        ("thal", math.nan, "a number, or null"),
        ("small", 1e39, "a number, or null"),
        ("count", 1.5, "a whole number"),
        ("count", True, "a whole number"),
        ("count", 2**63, "a whole number"),
        ("count", None, "a whole number"),
        ("flag", 1, "true or false"),
        ("colour", 1, "a text"),
        ("colour", None, "a text"),
        ("note", {}, "a text, or null"),
    ],
)
def test_a_value_that_does_not_fit_is_named(field: str, value: object, expected: str) -> None:
    (fault,) = faults(GOOD | {field: value})
    said: dict[type, object] = {list: "a list", dict: "an object"}
    got = said.get(type(value), value)
    assert fault == {"field": field, "got": pytest.approx(got, nan_ok=True), "expected": expected}
    (numbered,) = faults([GOOD, GOOD | {field: value}])
    assert (numbered["row"], numbered["field"]) == (1, field)


def test_every_fault_of_every_row_is_named() -> None:
    rows = [{**GOOD, "age": "x", "agee": 1}, GOOD, {name: GOOD[name] for name in GOOD if name != "flag"}]
    found = faults(rows)
    assert [(fault["row"], fault["field"]) for fault in found] == [(0, "age"), (0, "agee"), (2, "flag")]
    assert "age, thal" in str(found[1]["expected"])
    assert found[2]["got"] == "nothing"


@pytest.mark.parametrize(
    ("body", "got"),
    [(None, "null"), (1, "a number"), (True, "true or false"), ("x", "a text")],
)
def test_a_body_without_rows(body: object, got: str) -> None:
    assert faults(body) == [{"field": "", "got": got, "expected": EXPECTED}]


@pytest.mark.parametrize("body", [[], {"columns": {}}, {"columns": {"age": []}}])
def test_no_rows(body: object) -> None:
    assert faults(body) == [{"field": "", "got": "no row", "expected": "at least one row"}]


def test_a_list_that_holds_something_else() -> None:
    assert faults([GOOD, 1, []]) == [
        {"field": "", "row": 1, "got": "a number", "expected": "an object"},
        {"field": "", "row": 2, "got": "a list", "expected": "an object"},
    ]


def test_too_many_rows() -> None:
    (fault,) = faults([GOOD] * 3, max_rows=2)
    assert fault == {"field": "", "got": 3, "expected": "at most 2 rows in one request"}


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
fields = st.sampled_from([*GOOD, "other"])
anything = values | st.lists(values | st.dictionaries(fields, values)) | st.dictionaries(fields, values)


@given(anything)
def test_whatever_comes_it_is_columns_or_an_input_error(body: Any) -> None:
    with suppress(InputError):
        columns = columns_in(body)
        assert {len(column) for column in columns.values()} == {len(body) if isinstance(body, list) else 1}


good_rows = st.lists(
    st.fixed_dictionaries(
        {
            "age": st.floats(-1e30, 1e30) | st.integers(-(10**9), 10**9),
            "flag": st.booleans(),
            "colour": st.text(),
            "count": st.integers(-5, 5),
        },
        optional={"thal": st.none() | st.floats(-1e30, 1e30), "note": st.none() | st.text()},
    ),
    min_size=1,
)


@given(good_rows)
def test_what_fits_is_never_refused(rows: list[dict[str, Any]]) -> None:
    columns = columns_in(rows)
    assert columns["age"].tolist() == [float(row["age"]) for row in rows]


def test_what_is_said_of_bad_rows_stays_short() -> None:
    nested: object = 1
    for _ in range(300):
        nested = [nested]
    with pytest.raises(InputError, match="only the first 100 faults are shown") as failed:
        columns_of(
            [GOOD | {"age": nested}, GOOD | {"age": "x" * 10_000}, *[GOOD | {"age": None}] * 500], VALIDATOR, 1000
        )
    assert len(failed.value.faults) == 100
    assert len(str(failed.value.faults)) < 20_000


NUMBERS = [
    Column(name="a", type="double"),
    Column(name="b", type="double", required=False),
    Column(name="c", type="double", required=False),
]
number_rows = st.lists(
    st.lists(st.none() | st.floats() | st.integers(-(10**40), 10**40) | st.booleans(), min_size=3, max_size=3),
    min_size=1,
    max_size=4,
)


def outcome(take: Callable[[], Columns]) -> object:
    try:
        return {name: [repr(value) for value in column.tolist()] for name, column in take().items()}
    except InputError as error:
        return [(fault["row"], fault["field"]) for fault in error.faults]


@pytest.mark.parametrize("inputs", [NUMBERS, [*NUMBERS[:2], Column(name="c", type="boolean")]])
@given(number_rows)
def test_whatever_the_form_the_outcome_is_the_same(inputs: list[Column], rows: list[list[Any]]) -> None:
    validator = Validator(inputs)
    objects = [dict(zip(validator.names, row, strict=True)) for row in rows]
    expected = outcome(lambda: validator.rows(objects))
    assert outcome(lambda: validator.lists(rows)) == expected
    columns = {name: [row[name] for row in objects] for name in validator.names}
    assert outcome(lambda: validator.columns(columns)) == expected


@given(st.lists(st.lists(st.floats(), min_size=3, max_size=3), min_size=1, max_size=4))
def test_numbers_in_arrays_are_taken_as_in_lists_and_nan_is_null(rows: list[list[float]]) -> None:
    validator = Validator(NUMBERS)
    nulled = [[None if math.isnan(value) else value for value in row] for row in rows]
    expected = outcome(lambda: validator.lists(nulled))
    matrix = np.array(rows)
    assert outcome(lambda: validator.matrix(matrix)) == expected
    assert outcome(lambda: validator.arrays(dict(zip("abc", matrix.T, strict=True)))) == expected


@pytest.mark.parametrize(
    ("kind", "dtype", "value", "fits"),
    [
        ("double", np.int64, 3, True),
        ("double", np.float32, 1.5, True),
        ("double", np.bool_, True, False),
        ("float", np.float64, 1e39, False),
        ("long", np.int16, 3, True),
        ("long", np.float64, 3.0, False),
        ("long", np.uint64, 2**63, False),
        ("integer", np.int64, 2**31, False),
        ("boolean", np.bool_, True, True),
        ("boolean", np.int64, 1, False),
        ("string", np.int64, 1, False),
    ],
)
def test_arrays_of_other_types(kind: Any, dtype: Any, value: Any, fits: bool) -> None:
    validator = Validator([Column(name="a", type=kind)])
    for take in (validator.matrix, lambda array: validator.arrays({"a": array.reshape(-1)})):
        array = np.array([[value]], dtype=dtype)
        if fits:
            assert take(array)["a"].tolist() == [value]
        else:
            with pytest.raises(InputError):
                take(array)


WHOLES = [Column(name="long", type="long"), Column(name="integer", type="integer"), Column(name="flag", type="boolean")]
whole = {"long": 3, "integer": 4, "flag": True}


@pytest.mark.parametrize("value", [63.0, -0.0, 2.0**31 - 1, -(2.0**31)])
def test_a_lenient_validator_takes_floats_that_are_whole(value: float) -> None:
    validator = Validator(WHOLES)
    row = {"long": value, "integer": value, "flag": True}
    taken = [
        validator.lenient.rows([row, whole]),
        validator.lenient.lists([[*row.values()], [*whole.values()]]),
        validator.lenient.columns({name: [row[name], whole[name]] for name in whole}),
    ]
    for columns in taken:
        assert columns["long"].tolist() == [int(value), 3]
        assert columns["integer"].tolist() == [int(value), 4]
    with pytest.raises(InputError) as refused:
        validator.rows([row])
    assert [fault["field"] for fault in refused.value.faults] == ["long", "integer"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("long", 1.5),
        ("long", 2.0**63),
        ("long", 1e300),
        ("long", math.inf),
        ("long", math.nan),
        ("long", "3"),
        ("long", True),
        ("integer", 2.0**31),
        ("integer", -(2.0**31) - 1),
        ("flag", 1.0),
    ],
)
def test_a_lenient_validator_takes_nothing_else(field: str, value: object) -> None:
    with pytest.raises(InputError) as refused:
        Validator(WHOLES).lenient.rows([{"long": 1.0, "integer": 2.0, "flag": True} | {field: value}])
    assert [fault["field"] for fault in refused.value.faults] == [field]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_matrix_of_floats_for_inputs_of_several_types(dtype: Any) -> None:
    lenient = Validator([*WHOLES[:2], *NUMBERS[:2]]).lenient
    columns = lenient.matrix(np.array([[3, 4, 1.5, np.nan]], dtype))
    assert {name: column.dtype.type for name, column in columns.items()} == {
        "long": np.int64, "integer": np.int32, "a": np.float64, "b": np.float64,
    }  # fmt: skip
    assert [column.tolist()[0] for column in columns.values()] == [3, 4, 1.5, pytest.approx(np.nan, nan_ok=True)]
    with pytest.raises(InputError) as refused:
        lenient.matrix(np.array([[3.5, np.nan, np.nan, 1]], dtype))
    assert [fault["field"] for fault in refused.value.faults] == ["long", "integer", "a"]


@pytest.mark.parametrize(
    ("lists", "got"), [([[1, 2]], "2 values"), ([[1, 2, 3], {}], "an object"), ([[1, 2, 3], 1], "a number")]
)
def test_lists_of_another_width(lists: list[Any], got: str) -> None:
    with pytest.raises(InputError) as refused:
        Validator(NUMBERS).lists(lists)
    (fault,) = refused.value.faults
    assert (fault["got"], fault["expected"]) == (got, "a list of 3 values: a, b, c")


@pytest.mark.parametrize(
    ("columns", "field"), [({"a": [1, 2], "b": [1]}, "b"), ({"a": 1}, "a"), ({"a": [1], "z": [1]}, "z")]
)
def test_columns_that_do_not_fit(columns: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as refused:
        Validator(NUMBERS).columns(columns)
    assert [fault["field"] for fault in refused.value.faults] == [field]


def test_faults_are_looked_for_while_they_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def counted(got: object, expected: str, **where: Any) -> Fault:
        made.append(got)
        return fault(got, expected, **where)

    for module in (shapes, scoring):
        monkeypatch.setattr(module, "fault", counted)
    names = [f"f{number}" for number in range(1000)]
    refused: list[Callable[[], object]] = [
        lambda: shapes.count_of(dict.fromkeys(names, 1)),
        lambda: shapes.count_of({"a": [1], **{name: [] for name in names}}),
        lambda: shapes.objects([1] * 1000),
        lambda: shapes.check_widths([1] * 1000, ["a"]),
        lambda: scoring.columns_of({"inputs": {"a": [1]}, **dict.fromkeys(names, 1)}, VALIDATOR, 1000),
        lambda: scoring.columns_of({"dataframe_split": {"columns": names, "data": [[]] * 1000}}, VALIDATOR, 1000),
    ]
    for refuse in refused:
        made.clear()
        with pytest.raises(InputError, match="only the first 100 faults are shown"):
            refuse()
        assert len(made) == 101


def test_what_a_request_names_columns_is_not_said_again_for_each_row() -> None:
    split = {"columns": [f"f{number}" for number in range(1000)], "data": [[]] * 1000}
    with pytest.raises(InputError, match="no such columns") as refused:
        scoring.columns_of({"dataframe_split": split}, VALIDATOR, 1000)
    assert len(str(refused.value.faults)) < 20_000
