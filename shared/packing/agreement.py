"""Whether a compiled model gives scikit-learn's answers: on real rows, and on rows made to tell the two apart."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.bundle import Column, Columns, Output
from shared.packing.answers import answers_of
from shared.packing.perturb import perturbed
from shared.runtime import Prediction, Runtime
from shared.runtime.sklearn import frame_of

TOLERANCE = 1e-5  # of the answer, and of the largest answer to a real row
PERTURBED_ROWS = 2_000


@dataclass(frozen=True)
class Agreement:
    """What a comparison found.

    `largest` is the largest difference, in units of the answer or of the largest answer to a real row, whichever is
    larger; `fault` says where the two do not agree, None if they do.
    """

    rows: int
    perturbed: int
    largest: float
    fault: str | None

    def __str__(self) -> str:
        return f"{self.rows} held-out and golden rows and {self.perturbed} perturbed ones, to {self.largest:.1g}"


def compare(
    compiled: Runtime,
    fitted: tuple[Any, Output],
    inputs: list[Column],
    rows: Columns,
    *,
    count: int = PERTURBED_ROWS,
    seed: int = 0,
) -> Agreement:
    """Compare a compiled model's answers with an estimator's, to rows and to `count` rows made of them."""
    estimator, output = fitted
    real = answers_of(estimator, output, frame_of(rows))
    scale = float(np.abs(_numbers(real)).max()) or 1.0 if _is_numeric(real) else 1.0
    made = perturbed(rows, inputs, count, seed)
    try:
        expected = answers_of(estimator, output, frame_of(made))
    except Exception as error:  # whatever a pipeline raises for rows that it was not fitted for
        reason = f"scikit-learn refuses some of {count} perturbed rows, which ONNX cannot: {str(error).splitlines()[0]}"
        return Agreement(len(real.values), count, np.inf, reason)
    pairs = {"held-out and golden": (compiled.predict(rows), real), "perturbed": (compiled.predict(made), expected)}
    differences = {what: differences_of(got, truth, scale) for what, (got, truth) in pairs.items()}
    largest = max(float(each.max(initial=0.0)) for each in differences.values())
    faults = (_fault(what, each) for what, each in differences.items())
    return Agreement(len(real.values), count, largest, next((fault for fault in faults if fault), None))


def _fault(what: str, differences: np.ndarray) -> str | None:
    off = int((differences > TOLERANCE).sum())
    return f"{off} of {len(differences)} {what} rows are off, by up to {differences.max():.2g}" if off else None


def differences_of(got: Prediction, expected: Prediction, scale: float) -> np.ndarray:
    """Return how far each row's answer is from the expected one, infinite for another class; shape (n,)."""
    same = np.array([a == b for a, b in zip(got.values, expected.values, strict=True)])
    if not _is_numeric(expected):
        return _infinite_unless(same, np.zeros(len(same)))
    numbers, truth = _numbers(got), _numbers(expected)
    with np.errstate(invalid="ignore"):
        off = np.where(numbers == truth, 0.0, np.abs(numbers - truth) / np.maximum(np.abs(truth), scale))
    off = np.asarray(np.nan_to_num(off, nan=np.inf).max(axis=1))
    if expected.probabilities is None:
        return off
    best = np.sort(truth, axis=1)[:, ::-1]
    # Of classes that are as good as equally probable, rounding chooses, in scikit-learn too.
    is_tie = best[:, 0] - best[:, 1] <= TOLERANCE
    return _infinite_unless(same | is_tie, off)


def _infinite_unless(agrees: np.ndarray, differences: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(agrees, differences, np.inf))


def _is_numeric(answer: Prediction) -> bool:
    return answer.probabilities is not None or all(isinstance(value, float) for value in answer.values)


def _numbers(answer: Prediction) -> np.ndarray:
    """Return probabilities, or values as one column; shape (n, k)."""
    if answer.probabilities is not None:
        return np.asarray(answer.probabilities, np.float64)
    return np.asarray(answer.values, np.float64).reshape(-1, 1)
