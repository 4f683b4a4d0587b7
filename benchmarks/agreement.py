"""Whether bundles answer as scikit-learn does: every built-in recipe, packed from several tables, on perturbed rows.

Perturbed rows miss values, lie far outside, at split points, and hold categories that nobody has seen; they are others
than those that packing itself compares. Prints a table in Markdown, and how many models each runtime serves.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from services.trainer.datasets import Dataset, Datasets
from services.trainer.recipes import Catalogue
from services.trainer.settings import HEART_DISEASE
from shared.bundle import RuntimeKind
from shared.errors import RequestError
from shared.packing import Fitted, output_of, pack, values_of
from shared.packing.agreement import TOLERANCE, Agreement, compare
from shared.verification import verify

PERTURBED_ROWS = 10_000
SEED = 1  # packing has 0
TABLE_ROWS = 1_000
HEAD = ("data", "recipe", "runtime", "rows", "largest difference", "packed in s", "bundle MB")


@dataclass(frozen=True)
class Packed:
    """What became of one recipe on one table."""

    data: str
    recipe: str
    runtime: RuntimeKind
    reason: str
    found: Agreement
    seconds: float
    megabytes: float


def main() -> None:
    """Pack, compare, print; fail if a bundle answers otherwise than scikit-learn."""
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    packed = []
    for each in measure(PERTURBED_ROWS):
        packed.append(each)
        print(
            f"| {each.data} | {each.recipe} | {each.runtime} | {each.found.rows + each.found.perturbed:,} "
            f"| {each.found.largest:.1e} | {each.seconds:.1f} | {each.megabytes:.2f} |",
            flush=True,
        )
    counts = Counter(each.runtime for each in packed)
    print("\nmodels by runtime:", ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items())))
    faults = [f"{each.data}, {each.recipe}: {each.found.fault}" for each in packed if each.found.fault]
    if faults:
        raise SystemExit("\n".join(["bundles that answer otherwise than scikit-learn:", *faults]))
    print(f"all answers are scikit-learn's, to {max(each.found.largest for each in packed):.1e} (allowed: {TOLERANCE})")


def measure(perturbed_rows: int) -> Iterator[Packed]:
    """Pack each recipe on each table that it can learn from, and compare the bundle's answers."""
    catalogue = Catalogue()
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as name:
        for dataset in datasets(Path(name)):
            for recipe in sorted(catalogue.load()[0]):
                folder = Path(name) / dataset.name / recipe
                folder.mkdir(parents=True)
                try:
                    estimator = catalogue.find(recipe).fit(dataset.training(seed=0))
                except RequestError:
                    continue  # a recipe for classes, and a target that is a quantity
                yield _packed(dataset, recipe, Fitted(*_rows(estimator, dataset)), folder, perturbed_rows)


def _rows(estimator: object, dataset: Dataset) -> tuple[object, pd.DataFrame, pd.DataFrame]:
    return estimator, dataset.training(seed=0).features, dataset.held_out_features


def _packed(dataset: Dataset, recipe: str, fitted: Fitted, folder: Path, perturbed_rows: int) -> Packed:
    archive = folder / "bundle.tar"
    began = time.perf_counter()
    manifest = pack(fitted, archive)
    seconds = time.perf_counter() - began
    runtime = verify(archive, folder / "model", manifest.digest()).runtime
    rows = {column.name: column.array(values_of(dataset.features[column.name])) for column in manifest.inputs}
    model = (fitted.estimator, output_of(fitted.estimator))
    found = compare(runtime, model, manifest.inputs, rows, count=perturbed_rows, seed=SEED)
    megabytes = archive.stat().st_size / 1e6
    return Packed(dataset.name, recipe, manifest.runtime, manifest.runtime_reason, found, seconds, megabytes)


def datasets(folder: Path) -> Iterator[Dataset]:
    """Return real data, and made ones: numbers and texts with gaps, several classes, a quantity far from zero."""
    yield Datasets({"heart-disease": HEART_DISEASE}, []).load("heart-disease", None)
    table = mixed(TABLE_ROWS)
    signal = table["x"].fillna(0) + (table["colour"] == "red") - (table["code"] == 2)
    targets = {
        "mixed": signal > 0.5,
        "several-classes": np.array(["low", "middle", "high", "top"])[np.digitize(signal, [-0.5, 0.5, 1.5])],
        "quantity": 100_000 + 1_000 * signal,
    }
    for name, target in targets.items():
        path = folder / f"{name}.parquet"
        table.assign(target=target).to_parquet(path)
        yield Datasets({}, [folder]).load(path.name, "target")


def mixed(rows: int) -> pd.DataFrame:
    """Return numbers, codes and texts, some of each missing."""
    random = np.random.default_rng(0)
    colours = random.choice(["red", "blue", "green", "näive", "Red"], rows).astype(object)
    words = np.array([f"word {number}" for number in random.geometric(0.05, rows)], object)
    table = {
        "x": random.normal(size=rows),
        "large": random.normal(1e6, 1, rows),
        "tenths": random.integers(0, 30, rows) / 10,
        "code": random.integers(0, 4, rows).astype(float),
        "colour": colours,
        "word": words,
    }
    gaps = {name: random.random(rows) < 0.1 for name in table}
    return pd.DataFrame({name: pd.Series(values).mask(gaps[name]) for name, values in table.items()})


if __name__ == "__main__":
    main()
