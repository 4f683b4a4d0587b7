"""Recipes: what a request may set, and finding a user's own."""

from pathlib import Path
from typing import Any

import pytest

from services.trainer.recipes import Catalogue, TrainingData, recipe
from shared.errors import RequestError

OWN = """
from services.trainer.recipes import TrainingData, recipe


@recipe("own")
def own(data: TrainingData, copy: bool = False, *, depth: int, kind: str = "gini"):
    return (copy, depth, kind)
"""


def find(name: str) -> Any:
    return Catalogue().find(name)


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("logistic-regression", {}, {"C": 1.0, "max_iter": 1000}),
        ("logistic-regression", {"C": 2}, {"C": 2.0, "max_iter": 1000}),
        ("random-forest", {"max_depth": None, "n_estimators": 5},
         {"n_estimators": 5, "max_depth": None, "min_samples_leaf": 1}),
        ("hist-gradient-boosting", {"learning_rate": 0.5},
         {"max_iter": 100, "learning_rate": 0.5, "max_depth": None, "l2_regularization": 0.0}),
    ],
)  # fmt: skip
def test_parameters_are_completed_by_defaults(name: str, params: dict[str, Any], expected: dict[str, Any]) -> None:
    assert find(name).checked(params) == expected


@pytest.mark.parametrize(
    ("params", "field", "words"),
    [
        ({"C": 0}, "params.C", "greater than 0"),
        ({"C": "much"}, "params.C", "valid number"),
        ({"C": None}, "params.C", "valid number"),
        ({"max_iter": 1.5}, "params.max_iter", "valid integer"),
        ({"c": 1}, "params.c", "it takes C (float, 1.0 by default), max_iter (int, 1000 by default)"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_accepted(params: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(RequestError, match=r"logistic-regression cannot take") as raised:
        find("logistic-regression").checked(params)
    assert raised.value.field == field
    assert words in str(raised.value)


def test_an_unknown_recipe_names_those_that_there_are() -> None:
    with pytest.raises(RequestError, match="hist-gradient-boosting, logistic-regression, random-forest") as raised:
        find("forest")
    assert raised.value.field == "recipe"


def test_a_file_in_the_folder_is_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    own = Catalogue(tmp_path).find("own")
    assert own.checked({"depth": 3, "copy": True}) == {"copy": True, "depth": 3, "kind": "gini"}
    assert own.fit(None, **own.checked({"depth": 3})) == (False, 3, "gini")
    with pytest.raises(RequestError, match="Field required") as raised:
        own.checked({})
    assert raised.value.field == "params.depth"


def test_a_recipe_of_ones_own_replaces_a_built_in_one(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN.replace('"own"', '"random-forest"'))
    assert "depth" in Catalogue(tmp_path).find("random-forest").checked({"depth": 1})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("import no_such_library", "ModuleNotFoundError"),
        ("def broken(:", "SyntaxError"),
        ("import sys; sys.exit(2)", "SystemExit"),
        ("from services.trainer.recipes import recipe\n@recipe('x')\ndef x(data, **params): ...", "no **kwargs"),
    ],
)
def test_a_broken_file_costs_only_its_own_recipes(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "broken.py").write_text(content)
    (tmp_path / "mine.py").write_text(OWN)
    catalogue = Catalogue(tmp_path)
    assert catalogue.find("own").name == "own"
    with pytest.raises(RequestError, match=r"broken\.py") as raised:
        catalogue.find("x")
    assert words in str(raised.value)


def test_a_folder_that_is_not_there_holds_no_recipes(tmp_path: Path) -> None:
    assert Catalogue(tmp_path / "nowhere").find("random-forest").name == "random-forest"


def test_a_function_without_data_is_no_recipe() -> None:
    with pytest.raises(TypeError, match="must take the data"):
        recipe("none")(lambda: None)


def test_logistic_regression_names_the_recipes_that_do_regression() -> None:
    data = TrainingData(None, None, [], "regression", 0)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="random-forest or hist-gradient-boosting") as raised:
        find("logistic-regression").fit(data)
    assert raised.value.field == "recipe"
