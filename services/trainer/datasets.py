"""Datasets: a table with a target, by name from settings or by path under an allow-listed root."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from services.trainer.holdout import is_held_out
from services.trainer.recipes.data import Task, TrainingData
from services.trainer.settings import BUILT_IN_DATA, DatasetSettings
from shared.errors import RequestError

FEWEST_ROWS = 20
MOST_CLASSES = 20  # whole numbers with more distinct values than this are a quantity
READERS: dict[str, Callable[[str], pd.DataFrame]] = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
NUMBERS = {"integer", "floating", "mixed-integer-float", "boolean", "decimal"}  # what pandas may find in a column


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
        source = _located(settings.path) if settings else str(self._allowed(dataset))
        table = _read(source, dataset)
        chosen = target or (settings.target if settings else None)
        if chosen is None:
            raise RequestError(f"{dataset} has no target in the settings: name one in the request", field="target")
        if chosen not in table.columns:
            columns = ", ".join(map(str, table.columns))
            raise RequestError(f"{dataset} has no column {chosen!r}; it has {columns}", field="target")
        return _clean(dataset if settings else Path(source).stem, source, table, chosen, settings)

    def _allowed(self, dataset: str) -> Path:
        given = Path(dataset).expanduser()
        for candidate in (given, *(root / given for root in self._roots)):
            path = candidate.resolve()  # links and `..` are followed before they are judged
            if any(path.is_relative_to(root) for root in self._roots) and path.is_file():
                return path
        names = ", ".join(sorted(self._named))
        roots = ", ".join(map(str, self._roots)) or "none (set BATON_DATA_ROOTS)"
        raise RequestError(
            f"there is no dataset {dataset!r}: expected one of {names}, or the path of a .csv or .parquet file under "
            f"the allowed folders: {roots}",
            field="dataset",
        )


def _located(path: str) -> str:
    """Return a URL as it is, and a path as an absolute one."""
    return path if "://" in path else str(Path(path).expanduser().resolve())


def _read(source: str, dataset: str) -> pd.DataFrame:
    reader = READERS.get(Path(urlsplit(source).path).suffix.lower())
    if reader is None:
        raise RequestError(f"{dataset} is no table: expected a .csv or .parquet file", field="dataset")
    try:
        table = reader(source)
    except (OSError, ValueError) as error:
        raise RequestError(f"{dataset} cannot be read as a table: {error}", field="dataset") from error
    return table.rename(columns=str)


def _clean(name: str, source: str, table: pd.DataFrame, target: str, settings: DatasetSettings | None) -> Dataset:
    known = table[table[target].notna()].reset_index(drop=True)
    truth, task = _target(known[target])
    numeric = set(settings.numeric if settings else ())
    declared = set(settings.categorical if settings else ())
    columns = {c: _column(known[c], as_number=c in numeric) for c in known.columns if c != target}
    features = pd.DataFrame(columns, index=known.index)
    dataset = Dataset(
        name=name,
        source=name if Path(source).is_relative_to(BUILT_IN_DATA) else source,
        features=features,
        target=truth,
        categorical=[c for c in features.columns if c in declared or features[c].dtype == object],
        task=task,
        held_out=is_held_out(features.assign(**{target: truth})),
        dropped=len(table) - len(known),
    )
    _check(dataset)
    return dataset


def _target(values: pd.Series) -> tuple[pd.Series, Task]:
    """Text, booleans and whole numbers of at most 20 distinct values are classes; everything else is a quantity."""
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if kind == "boolean":
        return values.astype(bool), "classification"
    if kind not in NUMBERS:
        return values.astype(str).astype(object), "classification"
    numbers = pd.to_numeric(values).astype("float64")
    if np.isfinite(numbers).all() and (numbers == numbers.round()).all() and numbers.nunique() <= MOST_CLASSES:
        return numbers.astype("int64"), "classification"
    return numbers, "regression"


def _column(values: pd.Series, *, as_number: bool) -> pd.Series:
    """Return numbers and booleans as float64, everything else as text; a missing value is NaN in both."""
    if as_number or values.isna().all() or pd.api.types.infer_dtype(values, skipna=True) in NUMBERS:
        return pd.to_numeric(values, errors="coerce").astype("float64")
    text = [np.nan if missing else str(value) for value, missing in zip(values, values.isna(), strict=True)]
    return pd.Series(text, index=values.index, dtype=object)


def _check(dataset: Dataset) -> None:
    """Raise `RequestError` for a dataset that nothing can be learned from, or judged by."""
    if len(dataset.features) < FEWEST_ROWS:
        raise RequestError(
            f"{dataset.name} has {len(dataset.features)} rows with a target, at least {FEWEST_ROWS} are needed",
            field="dataset",
        )
    if dataset.features.columns.empty:
        raise RequestError(f"{dataset.name} has no column besides the target", field="dataset")
    if not dataset.held_out.any() or dataset.held_out.all():
        raise RequestError(f"{dataset.name} has too few different rows to hold some out", field="dataset")
    if dataset.task == "classification":
        _check_classes(dataset)


def _check_classes(dataset: Dataset) -> None:
    trained, judged = Counter(dataset.target[~dataset.held_out]), Counter(dataset.held_out_target)
    if len(trained) < 2 or len(judged) < 2:
        raise RequestError(
            f"{dataset.target_name} has fewer than two classes among the training or the held-out rows", field="target"
        )
    unseen = sorted(map(str, judged.keys() - trained.keys()))
    if unseen:
        raise RequestError(
            f"{dataset.target_name} has classes too rare to train on: {', '.join(unseen)}; leave their rows out",
            field="target",
        )
