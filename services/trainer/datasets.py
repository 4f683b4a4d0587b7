"""Datasets: a table with a target, by name from settings or by path under an allow-listed root."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from services.trainer.holdout import is_held_out
from services.trainer.recipes.data import Task, TrainingData
from services.trainer.settings import BUILT_IN_DATA, DatasetSettings
from shared.errors import RequestError

FEWEST_ROWS = 20
MOST_CLASSES = 20  # whole numbers with more distinct values than this are a quantity
READERS: dict[str, Callable[[Path], pd.DataFrame]] = {".csv": pd.read_csv, ".parquet": pd.read_parquet}


@dataclass(frozen=True)
class Dataset:
    """A cleaned table: `features` (rows, columns), `target` (rows,), and which rows are held out."""

    name: str
    source: str
    features: pd.DataFrame
    target: pd.Series
    categorical: list[str]
    task: Task
    held_out: np.ndarray
    dropped: int

    def training(self, seed: int) -> TrainingData:
        """Return the rows to fit on."""
        rows = ~self.held_out
        return TrainingData(self.features[rows], self.target[rows], self.categorical, self.task, seed)

    @property
    def target_name(self) -> str:
        """Return the target's column."""
        return str(self.target.name)

    @property
    def table(self) -> pd.DataFrame:
        """Return features and target together, the target last."""
        return pd.concat([self.features, self.target], axis=1)

    @property
    def held_out_features(self) -> pd.DataFrame:
        """Return the rows that no version is fitted on."""
        return self.features[self.held_out]

    @property
    def held_out_target(self) -> pd.Series:
        """Return the truth of the held-out rows."""
        return self.target[self.held_out]


class Datasets:
    """The datasets that may be trained on."""

    def __init__(self, named: dict[str, DatasetSettings], roots: list[Path]) -> None:
        self._named = named
        self._roots = [root.expanduser().resolve() for root in roots]

    def load(self, dataset: str, target: str | None) -> Dataset:
        """Read and clean a dataset; raise `RequestError` naming the field that is wrong."""
        settings = self._named.get(dataset)
        path = Path(settings.path).expanduser().resolve() if settings else self._allowed(dataset)
        table = _read(path, dataset)
        chosen = target or (settings.target if settings else None)
        if chosen is None:
            raise RequestError(f"{dataset} has no target in the settings: name one in the request", field="target")
        if chosen not in table.columns:
            columns = ", ".join(map(str, table.columns))
            raise RequestError(f"{dataset} has no column {chosen!r}; it has {columns}", field="target")
        return _clean(path.stem if settings is None else dataset, path, table, chosen, settings)

    def _allowed(self, dataset: str) -> Path:
        path = Path(dataset).expanduser().resolve()  # links and `..` are followed before they are judged
        if any(path.is_relative_to(root) for root in self._roots) and path.is_file():
            return path
        names = ", ".join(sorted(self._named))
        roots = ", ".join(map(str, self._roots)) or "none (set BATON_DATA_ROOTS)"
        raise RequestError(
            f"there is no dataset {dataset!r}: expected one of {names}, or the path of a file under the allowed "
            f"folders: {roots}",
            field="dataset",
        )


def _read(path: Path, dataset: str) -> pd.DataFrame:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise RequestError(f"{dataset} is no table: expected a .csv or .parquet file", field="dataset")
    try:
        table = reader(path)
    except (OSError, ValueError) as error:
        raise RequestError(f"{dataset} cannot be read as a table: {error}", field="dataset") from error
    return table.rename(columns=str)


def _clean(name: str, path: Path, table: pd.DataFrame, target: str, settings: DatasetSettings | None) -> Dataset:
    known = table[table[target].notna()]
    truth, task = _target(known[target])
    features = known.drop(columns=target)
    numeric = set(settings.numeric if settings else ())
    declared = set(settings.categorical if settings else ())
    columns = {column: _column(features[column], as_number=column in numeric) for column in features.columns}
    cleaned = pd.DataFrame(columns, index=features.index).reset_index(drop=True)
    categorical = [c for c in cleaned.columns if c in declared or cleaned[c].dtype == object]
    held_out = is_held_out(cleaned.assign(**{target: truth.to_numpy()}))
    dataset = Dataset(
        name=name,
        source=name if path.is_relative_to(BUILT_IN_DATA) else str(path),
        features=cleaned,
        target=truth.reset_index(drop=True).rename(target),
        categorical=categorical,
        task=task,
        held_out=held_out,
        dropped=len(table) - len(known),
    )
    _check(dataset)
    return dataset


def _target(values: pd.Series) -> tuple[pd.Series, Task]:
    """Text, booleans and whole numbers of few distinct values are classes; everything else is a quantity."""
    if pd.api.types.is_bool_dtype(values):
        return values.astype(bool), "classification"
    if not pd.api.types.is_numeric_dtype(values):
        return values.astype(str).astype(object), "classification"
    whole = bool((values == values.round()).all())
    if whole and values.nunique() <= MOST_CLASSES:
        return values.astype("int64"), "classification"
    return values.astype("float64"), "regression"


def _column(values: pd.Series, *, as_number: bool) -> pd.Series:
    """Return numbers as float64 with NaN, everything else as text with None."""
    if as_number or pd.api.types.is_numeric_dtype(values):
        return pd.to_numeric(values, errors="coerce").astype("float64")
    return pd.Series([None if missing else str(v) for v, missing in zip(values, values.isna(), strict=True)],
                     index=values.index, dtype=object)  # fmt: skip


def _check(dataset: Dataset) -> None:
    if len(dataset.features) < FEWEST_ROWS:
        raise RequestError(
            f"{dataset.name} has {len(dataset.features)} rows with a target, at least {FEWEST_ROWS} are needed",
            field="dataset",
        )
    sides = (dataset.target[~dataset.held_out], dataset.held_out_target)
    if dataset.task == "classification" and any(side.nunique() < 2 for side in sides):
        raise RequestError(
            f"{dataset.target_name} has fewer than two classes among the training or the held-out rows",
            field="target",
        )
