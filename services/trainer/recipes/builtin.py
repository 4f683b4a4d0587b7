"""The recipes that come with Baton, for any table with a target."""

from typing import Any

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression

from services.trainer.recipes.catalogue import recipe
from services.trainer.recipes.data import TrainingData
from shared.errors import RequestError


@recipe("logistic-regression")
def logistic_regression(data: TrainingData, *, C: PositiveFloat = 1.0, max_iter: PositiveInt = 1000) -> Any:  # noqa: N803
    """Fit a logistic regression on scaled columns, for classification."""
    if data.task != "classification":
        raise RequestError(
            "logistic-regression needs classes, and the target is a quantity: use random-forest or "
            "hist-gradient-boosting for regression",
            field="recipe",
        )
    estimator = LogisticRegression(C=C, max_iter=max_iter, random_state=data.seed)
    return data.pipeline(estimator, scale=True).fit(data.features, data.target)


@recipe("random-forest")
def random_forest(
    data: TrainingData,
    *,
    n_estimators: PositiveInt = 200,
    max_depth: PositiveInt | None = None,
    min_samples_leaf: PositiveInt = 1,
) -> Any:
    """Grow a random forest, for classification and regression."""
    kind = RandomForestClassifier if data.task == "classification" else RandomForestRegressor
    estimator = kind(
        n_estimators=n_estimators, max_depth=max_depth, min_samples_leaf=min_samples_leaf, random_state=data.seed
    )
    return data.pipeline(estimator).fit(data.features, data.target)


@recipe("hist-gradient-boosting")
def hist_gradient_boosting(
    data: TrainingData,
    *,
    max_iter: PositiveInt = 100,
    learning_rate: PositiveFloat = 0.1,
    max_depth: PositiveInt | None = None,
    l2_regularization: NonNegativeFloat = 0.0,
) -> Any:
    """Fit histogram-based gradient boosting, for classification and regression."""
    kind = HistGradientBoostingClassifier if data.task == "classification" else HistGradientBoostingRegressor
    estimator = kind(
        max_iter=max_iter,
        learning_rate=learning_rate,
        max_depth=max_depth,
        l2_regularization=l2_regularization,
        random_state=data.seed,
    )
    return data.pipeline(estimator).fit(data.features, data.target)
