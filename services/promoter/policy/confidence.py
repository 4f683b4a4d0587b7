"""Confidence: how sure the held-out rows make us that a challenger is better, by a paired bootstrap.

Rows are drawn again with replacement, the same for both models, and the improvement is computed for each such resample
(Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 16). Resamples that do not define the
metric, such as those of one class only, are left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from services.promoter.policy.weighted import weighted
from shared.bundle import Label, Output
from shared.runtime import Prediction

RESAMPLES = 4000
FEWEST = 1000  # defined resamples without which nothing is said
CELLS = 4_000_000  # counts held at once: 32 MB
ROUNDING = 1e-12  # smaller improvements are noise of floating point


@dataclass(frozen=True)
class Pair:
    """Answers of challenger and champion to the same held-out rows."""

    output: Output
    truth: list[Label]
    challenger: Prediction
    champion: Prediction
    seed: int


@dataclass(frozen=True)
class Confidence:
    """Probability that the challenger is better, and the 95 % interval of its improvement."""

    probability: float
    low: float
    high: float
    resamples: int


def confidence(pair: Pair, metric: str, *, higher_is_better: bool) -> Confidence | None:
    """Return how sure the rows make us; None for a metric that is not known here, or too few rows to draw from.

    The same pair gives the same answer; turned around, it gives the opposite one.
    """
    challenger = weighted(metric, pair.output, pair.truth, pair.challenger)
    champion = weighted(metric, pair.output, pair.truth, pair.champion)
    if challenger is None or champion is None:
        return None
    sign = 1.0 if higher_is_better else -1.0
    parts = [sign * (challenger(counts) - champion(counts)) for counts in _draw(len(pair.truth), pair.seed)]
    gains = np.concatenate(parts)
    gains = gains[np.isfinite(gains)]
    if len(gains) < FEWEST:
        return None
    low, high = np.quantile(gains, [0.025, 0.975])
    return Confidence(float((gains > ROUNDING).mean()), float(low), float(high), len(gains))


def _draw(rows: int, seed: int) -> Iterator[np.ndarray]:
    """Yield counts of shape (some, rows), `RESAMPLES` in all, in parts that fit into memory."""
    random = np.random.default_rng(seed)
    at_once = max(1, min(RESAMPLES, CELLS // rows))
    chances = np.full(rows, 1 / rows)
    for done in range(0, RESAMPLES, at_once):
        yield random.multinomial(rows, chances, size=min(at_once, RESAMPLES - done))
