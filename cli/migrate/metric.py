"""Metric files: one line per point, `timestamp value [step [dataset digest]]`; for logged models with the run's id."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from cli.migrate.fields import BIGGEST, INFINITY
from cli.migrate.findings import Findings


class Point(NamedTuple):
    """One value of a metric as MLflow's SQL store keeps it: NaN is zero with a mark, infinity the largest float."""

    timestamp: int
    value: float
    step: int
    is_nan: bool


@dataclass(frozen=True)
class ModelPoint:
    """One value of a logged model's metric."""

    point: Point
    run_id: str
    dataset: tuple[str, str] | None


def parse_line(line: bytes | str) -> tuple[Point, list[str]]:
    """Return the point that a line holds and the words after it; raise `ValueError` if it holds none."""
    words = (line if isinstance(line, str) else line.decode()).split()
    if len(words) < 2:
        raise ValueError("fewer than two words")
    step = int(words[2]) if len(words) > 2 else 0
    return make_point(int(words[0]), float(words[1]), step), words[3:]


def make_point(timestamp: int, value: float, step: int) -> Point:
    """Return a point in the form of MLflow's SQL store; raise `ValueError` for numbers that it cannot hold."""
    if abs(timestamp) > BIGGEST or abs(step) > BIGGEST:
        raise ValueError("a number is too large")
    if math.isnan(value):
        return Point(timestamp, 0.0, step, is_nan=True)
    return Point(timestamp, max(-INFINITY, min(INFINITY, value)), step, is_nan=False)


def latest(points: Iterable[Point]) -> Point:
    """Return the point that MLflow shows as a metric's value."""
    return max(points, key=lambda point: (point.step, point.timestamp, point.value))


def read_points(raw: bytes, place: str, findings: Findings) -> list[Point]:
    """Return the points of a run's metric file, each once; a line that is cut or no point is quarantined alone."""
    points: dict[Point, None] = {}
    lines = raw.split(b"\n")
    unfinished = lines.pop()  # MLflow ends each line: what follows the last end may be half a number
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            point, rest = parse_line(line)
            _check_words(rest, (0, 2))
            points[point] = None
        except ValueError:
            findings.quarantined(f"{place}:{number}", "metric line", f"is not a metric's point: {_shown(line)}")
    if unfinished.strip():
        reason = f"the line is cut off: {_shown(unfinished)}"
        findings.quarantined(f"{place}:{len(lines) + 1}", "metric line", reason)
    return list(points)


def read_model_points(raw: bytes, place: str, findings: Findings) -> list[ModelPoint]:
    """Return the points of a logged model's metric file, each once."""
    points: dict[ModelPoint, None] = {}
    for number, line in enumerate(raw.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            point, rest = parse_line(line)
            _check_words(rest, (1, 3))
            dataset = (rest[1], rest[2]) if len(rest) == 3 else None
            points[ModelPoint(point, rest[0], dataset)] = None
        except ValueError:
            reason = f"is not a point of a model's metric: {_shown(line)}"
            findings.quarantined(f"{place}:{number}", "metric line", reason)
    return list(points)


def _check_words(rest: list[str], allowed: tuple[int, int]) -> None:
    if len(rest) not in allowed:
        raise ValueError("a wrong number of words")


def _shown(line: bytes) -> str:
    return repr(line[:60].decode(errors="replace"))
