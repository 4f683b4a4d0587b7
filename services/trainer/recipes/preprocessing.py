"""The standard preprocessing: impute what is missing, scale where it helps, encode categories."""

from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def pipeline(numeric: list[str], categorical: list[str], estimator: Any, *, scale: bool) -> Pipeline:
    """Return preprocessing and estimator in one; a category unseen in training is encoded as none of them."""
    quantities = [("impute", SimpleImputer(strategy="median", keep_empty_features=True))]
    if scale:
        quantities.append(("scale", StandardScaler()))
    categories = [
        ("impute", SimpleImputer(strategy="most_frequent")),
        ("encode", OneHotEncoder(handle_unknown="ignore", sparse_output=False)),
    ]
    parts = [("numeric", Pipeline(quantities), numeric), ("categorical", Pipeline(categories), categorical)]
    columns = ColumnTransformer([part for part in parts if part[2]])
    return Pipeline([("columns", columns), ("model", estimator)])
