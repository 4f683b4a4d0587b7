"""The standard preprocessing: impute what is missing, scale where it helps, encode categories."""

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def preprocessing(features: pd.DataFrame, categorical: list[str], *, scale: bool) -> ColumnTransformer:
    """Return an unfitted transformer for the columns; a category unseen in training is encoded as none of them.

    Categories that are numbers and categories that are text are kept apart, for an array has one type.
    """
    numeric = [name for name in features.columns if name not in categorical]
    text = [name for name in categorical if features[name].dtype == object]
    codes = [name for name in categorical if name not in text]
    parts = [
        ("numeric", _quantities(scale=scale), numeric),
        ("codes", _categories(impute=True), codes),
        # Text that training never missed is imputed by nobody: a later gap is then none of its categories.
        ("text", _categories(impute=bool(features[text].isna().any(axis=None))), text),
    ]
    return ColumnTransformer([part for part in parts if part[2]])


def _quantities(*, scale: bool) -> Pipeline:
    impute = [("impute", SimpleImputer(strategy="median", keep_empty_features=True))]
    return Pipeline([*impute, ("scale", StandardScaler())] if scale else impute)


def _categories(*, impute: bool) -> Pipeline:
    encode = [("encode", OneHotEncoder(handle_unknown="ignore", sparse_output=False))]
    return Pipeline([("impute", SimpleImputer(strategy="most_frequent")), *encode] if impute else encode)
