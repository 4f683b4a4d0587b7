"""Nothing unverified serves: unpack, load, warm up, and compare with the golden answers before a model may answer."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, median_low
from typing import Any

import numpy as np

from shared import runtime
from shared.bundle import Columns, Golden, Manifest, read_golden, unpack
from shared.errors import BundleError

TIMED = 9  # golden rows: the first few of a model that has just been loaded are not in the processor's caches


@dataclass(frozen=True, eq=False)  # hashed by identity: a key of what else is known of it
class VerifiedModel:
    """A model that gave the answers it gave when it was trained. Durations in milliseconds.

    `example` is a row that it takes: what is typical of each input on its own, so that it is nobody's row. `row_s` is
    the processor time in seconds that a row takes alone, which was not asked before; infinite where nobody measured it.
    """

    manifest: Manifest
    runtime: runtime.Runtime
    load_ms: float
    verify_ms: float
    example: Mapping[str, Any] = field(default_factory=dict)
    row_s: float = math.inf


def verify(archive: Path, folder: Path, digest: str, *, allow_pyfunc: bool = False) -> VerifiedModel:
    """Unpack a bundle into a folder and check it; raise `BundleError` naming the check that it did not pass.

    What a host is short of, memory or room on its disk, is raised as it came: it speaks against no bundle.
    `allow_pyfunc` lets a model be opened that is code.
    """
    started = time.perf_counter()
    manifest = unpack(archive, folder, digest)
    loaded = runtime.load(folder, manifest, allow_pyfunc=allow_pyfunc)
    after_load = time.perf_counter()
    golden = read_golden(folder)
    row_s = check_golden(loaded, manifest, golden)
    done = time.perf_counter()
    example = {name: value for name, values in golden.columns.items() if (value := _typical(values)) is not None}
    return VerifiedModel(manifest, loaded, (after_load - started) * 1e3, (done - after_load) * 1e3, example, row_s)


def _typical(values: list[Any]) -> Any:
    """Return the middle one of the values that are not missing, None if there is none."""
    return median_low(known) if (known := [value for value in values if value is not None]) else None


def check_golden(model: runtime.Runtime, manifest: Manifest, golden: Golden) -> float:
    """Compare a model's answers with the recorded ones, one row alone and all rows at once; return `row_s`."""
    try:
        columns = manifest.arrays(golden.columns)
    except (KeyError, ValueError, TypeError) as error:
        raise BundleError(f"the golden rows do not fit the model's inputs: {error}", "schema") from error
    try:
        model.predict(_at(-1, columns))
        alone_s = [_alone_s(model, _at(row, columns)) for row in range(_timed(manifest, golden))]
        answer = model.predict(columns)
    except Exception as error:  # whatever a library raises for rows that it cannot take
        if runtime.is_hosts(error):
            raise
        raise BundleError(f"the model fails on its golden rows: {type(error).__name__}: {error}", "warm_up") from error
    difference = disagreement(answer, _recorded(golden), manifest.tolerance)
    if difference is not None:
        raise BundleError(f"the model no longer gives its golden answers: {difference}", "golden")
    return median(alone_s or [math.inf])


def _timed(manifest: Manifest, golden: Golden) -> int:
    """Return how many rows to time: of compiled models, which are the only ones that answer on the loop, a few."""
    return min(TIMED, len(golden.predictions)) if manifest.runtime == "onnx" else 0


def _at(row: int, columns: Columns) -> Columns:
    return {name: values[row:][:1] for name, values in columns.items()}


def _alone_s(model: runtime.Runtime, row: Columns) -> float:
    """Return the processor time in seconds for a row by itself: among others it may take much less."""
    started = time.thread_time()
    model.predict(row)
    return time.thread_time() - started


def _recorded(golden: Golden) -> runtime.Prediction:
    probabilities = None if golden.probabilities is None else np.asarray(golden.probabilities)
    return runtime.Prediction(golden.predictions, probabilities)


def disagreement(got: runtime.Prediction, expected: runtime.Prediction, tolerance: float) -> str | None:
    """Say where answers differ from the expected ones by more than the tolerance, None if nowhere."""
    if expected.probabilities is not None:
        if got.probabilities is None:
            return "there are no probabilities"
        return _numbers_differ(got.probabilities, expected.probabilities, tolerance)
    if all(isinstance(value, float) for value in expected.values):
        return _numbers_differ(np.asarray(got.values, float), np.asarray(expected.values, float), tolerance)
    pairs = zip(got.values, expected.values, strict=True)
    wrong = [row for row, (label, truth) in enumerate(pairs) if label != truth]
    return f"{len(wrong)} of {len(expected.values)} rows have another class" if wrong else None


def _numbers_differ(got: np.ndarray, expected: np.ndarray, tolerance: float) -> str | None:
    if got.shape != expected.shape:
        return f"shape {got.shape} instead of {expected.shape}"
    # Relative and absolute to the output's scale: float32 is off by more than 1e-5 where targets are large.
    scale = float(np.abs(expected).max(initial=0.0)) or 1.0
    close = np.isclose(got, expected, rtol=tolerance, atol=tolerance * scale)
    if close.all():
        return None
    rows = int((~close.reshape(len(close), -1).all(axis=1)).sum())
    return f"{rows} of {len(close)} rows are off, by up to {float(np.abs(got - expected).max()):.2g}"
