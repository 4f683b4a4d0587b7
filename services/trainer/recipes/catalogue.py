"""Finding recipes by name, and checking parameters against their signatures."""

import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from shared.errors import RequestError
from shared.telemetry import logger

Fit = Callable[..., Any]
MARK = "__baton_recipe__"

log = logger(__name__)


@dataclass(frozen=True)
class Recipe:
    """A named function; every parameter after the data is one that a request may set, within its annotation."""

    name: str
    fit: Fit

    def checked(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return all parameters, defaults included; raise `RequestError` naming the first one that is wrong."""
        model = _parameter_model(self)
        try:
            return model.model_validate(params).model_dump(by_alias=True)
        except ValidationError as error:
            fault = error.errors()[0]
            accepted = ", ".join(_accepted(model)) or "no parameters"
            raise RequestError(
                f"{self.name} cannot take params.{fault['loc'][0]}: {fault['msg']}; it takes {accepted}",
                field=f"params.{fault['loc'][0]}",
            ) from error


def recipe(name: str) -> Callable[[Fit], Fit]:
    """Make a function a recipe; raise `TypeError` for one whose parameters a request could not name."""

    def mark(function: Fit) -> Fit:
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters or any(p.kind in {p.VAR_POSITIONAL, p.VAR_KEYWORD} for p in parameters):
            raise TypeError(f"recipe {name!r} must take the data and named parameters: no *args, no **kwargs")
        setattr(function, MARK, name)
        return function

    return mark


class Catalogue:
    """The recipes of the package and of a folder.

    A recipe in the folder replaces a built-in one of its name; a broken file costs only its own recipes.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def find(self, name: str) -> Recipe:
        """Return a recipe by its name; raise `RequestError` naming those that there are."""
        recipes, broken = self.load()
        if name in recipes:
            return recipes[name]
        known = ", ".join(sorted(recipes))
        hint = f"; these files could not be read: {'; '.join(broken)}" if broken else ""
        raise RequestError(f"there is no recipe {name!r}; there are {known}{hint}", field="recipe")

    def load(self) -> tuple[dict[str, Recipe], list[str]]:
        """Return the recipes by name, and what is wrong with each file that could not be imported."""
        from services.trainer.recipes import builtin

        recipes, broken = _recipes_of(builtin), []
        for path in sorted(self._folder.expanduser().glob("*.py")) if self._folder else []:
            try:
                recipes |= _recipes_of(_import(path))
            except (Exception, SystemExit) as error:  # whatever a user's file raises
                log.warning("recipe file cannot be used", path=str(path), error=repr(error))
                broken.append(f"{path.name}: {type(error).__name__}: {error}")
        return recipes, broken


def _recipes_of(module: Any) -> dict[str, Recipe]:
    functions = [value for value in vars(module).values() if hasattr(value, MARK)]
    return {getattr(function, MARK): Recipe(getattr(function, MARK), function) for function in functions}


def _import(path: Path) -> Any:
    name = f"baton_recipes_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and skops look a class up
    spec.loader.exec_module(module)
    return module


def _parameter_model(found: Recipe) -> type[BaseModel]:
    # Fields are named by their place: a parameter may be called `copy` or `json`, which a model has already.
    _, *parameters = inspect.signature(found.fit, eval_str=True).parameters.values()
    fields: dict[str, Any] = {
        f"parameter_{place}": (
            Any if p.annotation is p.empty else p.annotation,
            Field(... if p.default is p.empty else p.default, alias=p.name),
        )
        for place, p in enumerate(parameters)
    }
    return create_model(found.name, __config__=ConfigDict(extra="forbid"), **fields)


def _accepted(model: type[BaseModel]) -> list[str]:
    return [
        f"{field.alias} ({getattr(field.annotation, '__name__', field.annotation)}"
        + ("" if field.is_required() else f", {field.default} by default")
        + ")"
        for field in model.model_fields.values()
    ]
