"""Recipes: a recipe is one decorated function that takes data and typed parameters and returns a fitted estimator.

A file of one's own in the recipe folder needs `from services.trainer.recipes import TrainingData, recipe` only.
"""

from services.trainer.recipes.catalogue import Catalogue, Recipe, recipe
from services.trainer.recipes.data import TrainingData

__all__ = ["Catalogue", "Recipe", "TrainingData", "recipe"]
