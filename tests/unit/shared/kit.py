"""Small fitted pipelines, and bundles made of them."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from shared.bundle import Manifest
from shared.packing import Fitted, pack

COUNT = 120
SPLIT = 90


def table(*, missing: bool = False) -> pd.DataFrame:
    """Return rows with a number, a code and a text, some of them missing if asked for."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "x": random.normal(size=COUNT),
            "code": random.integers(0, 4, COUNT).astype(float),
            "colour": pd.Series(random.choice(["red", "blue", "green"], COUNT), dtype=object),
        }
    )
    if missing:
        frame.loc[::7, "x"] = np.nan
        frame.loc[::9, "colour"] = np.nan
    return frame


def classes(frame: pd.DataFrame) -> pd.Series:
    """Return two classes that the table says something about."""
    return (frame["x"].fillna(0) + (frame["colour"] == "red") > 0.3).astype(int)


def pipeline(estimator: object, *, scale: bool = True) -> Pipeline:
    encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    numbers = StandardScaler() if scale else "passthrough"
    columns = ColumnTransformer([("numbers", numbers, ["x", "code"]), ("text", encode, ["colour"])])
    return Pipeline([("columns", columns), ("model", estimator)])


def fitted(frame: pd.DataFrame, estimator: object, target: pd.Series) -> Fitted:
    return Fitted(pipeline(estimator).fit(frame[:SPLIT], target[:SPLIT]), frame[:SPLIT], frame[SPLIT:])


def packed(archive: Path) -> Manifest:
    """Write the bundle of a logistic regression."""
    frame = table()
    return pack(fitted(frame, LogisticRegression(), classes(frame)), archive)
