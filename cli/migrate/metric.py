"""Metric files: one line per point, `timestamp value [step [dataset digest]]`; for logged models with the run's id."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, NamedTuple, TypeVar

from cli.migrate.fields import BIGGEST, INFINITY
from cli.migrate.findings import Findings

LONGEST = 4096  # bytes of a line: the words after the step are a data set's name and digest
WORDS = (32, 500, 36)  # characters that MLflow's database holds of a run's id, a data set's name and its digest
NAMED = 20  # bad lines of one file that are named; of the rest the number is


class Point(NamedTuple):
    """One value of a metric as MLflow's SQL store keeps it: NaN is zero with a mark, infinity the largest float."""

    timestamp: int
    value: float
    step: int
    is_nan: bool


class ModelPoint(NamedTuple):
    """One value of a logged model's metric."""

    point: Point
    run_id: str
    dataset: tuple[str, str] | None


P = TypeVar("P", Point, ModelPoint)


def parse_line(line: bytes | str) -> tuple[Point, list[str]]:
    """Return the point that a line holds and the words after it; raise `ValueError` if it holds none."""
    words = (line if isinstance(line, str) else line.decode()).split()
    if len(words) < 2:
        raise ValueError("fewer than two words")
    step = int(words[2]) if len(words) > 2 else 0
    return make_point(int(words[0]), float(words[1]), step), words[3:]


def run_point(line: bytes) -> Point:
    """Return a run's point; raise `ValueError` if the line holds none."""
    point, rest = parse_line(line)
    _check_words(rest, (0, 2))
    return point


def model_point(line: bytes) -> ModelPoint:
    """Return a logged model's point; raise `ValueError` if the line holds none."""
    point, rest = parse_line(line)
    _check_words(rest, (1, 3))
    if "\0" in "".join(rest) or any(len(word) > limit for word, limit in zip(rest, WORDS, strict=False)):
        raise ValueError("no run, data set and digest")
    return ModelPoint(point, rest[0], (rest[1], rest[2]) if len(rest) == 3 else None)


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


def read_points(file: BinaryIO, parse: Callable[[bytes], P], place: str, findings: Findings) -> Iterator[P]:
    """Yield the points of a metric file, read line by line; a line that is cut or no point is quarantined alone."""
    bad = 0
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        try:
            yield parse(_whole(line))
        except ValueError:
            bad += 1
            if bad <= NAMED:
                findings.quarantined(f"{place}:{number}", "metric line", f"{_fault(line)}: {_shown(line)}")
    if bad > NAMED:
        findings.quarantined(place, "metric line", f"{bad - NAMED:,} more lines are no points either")


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file with their ends; of one that is too long only its beginning."""
    while line := file.readline(LONGEST):
        yield line
        while len(line) == LONGEST and not line.endswith(b"\n"):
            line = file.readline(LONGEST)


def _whole(line: bytes) -> bytes:
    """Return a line that has its end: MLflow ends each, so what stands in another may be half a number."""
    if not line.endswith(b"\n"):
        raise ValueError("no end of a line")
    return line


def _fault(line: bytes) -> str:
    if line.endswith(b"\n"):
        return "is not a metric's point"
    return "the line is cut off" if len(line) < LONGEST else "the line is too long"


def _check_words(rest: list[str], allowed: tuple[int, int]) -> None:
    if len(rest) not in allowed:
        raise ValueError("a wrong number of words")


def _shown(line: bytes) -> str:
    return repr(line[:60].decode(errors="replace"))
