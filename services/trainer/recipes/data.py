"""What a recipe is given."""

from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class TrainingData:
    """The rows to fit on: `features` has shape (rows, columns), `target` (rows,).

    Numeric columns are float64 with NaN where a value is missing, all others hold text with None. `categorical` names
    the columns that are categories, whatever their type. `seed` is to be used for everything random.
    """

    features: pd.DataFrame
    target: pd.Series
    categorical: list[str]
    task: Task
    seed: int

    @property
    def numeric(self) -> list[str]:
        """Return the columns that are quantities."""
        return [name for name in self.features.columns if name not in self.categorical]

    def pipeline(self, estimator: Any, *, scale: bool = False) -> Any:
        """Return an unfitted pipeline of the standard preprocessing and an estimator."""
        from services.trainer.recipes.preprocessing import pipeline

        return pipeline(self.numeric, self.categorical, estimator, scale=scale)
