"""What a recipe is given."""

from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class TrainingData:
    """The rows to fit on: `features` has shape (rows, columns), `target` (rows,).

    Numeric columns are float64, all others hold text; a missing value is NaN in both. `categorical` names the columns
    that are categories, whatever their type. `seed` is to be used for everything random.
    """

    features: pd.DataFrame
    target: pd.Series
    categorical: list[str]
    task: Task
    seed: int

    def pipeline(self, estimator: Any, *, scale: bool = False) -> Any:
        """Return an unfitted pipeline of the standard preprocessing and an estimator."""
        from sklearn.pipeline import Pipeline

        from services.trainer.recipes.preprocessing import preprocessing

        columns = preprocessing(self.features, self.categorical, scale=scale)
        return Pipeline([("columns", columns), ("model", estimator)])
