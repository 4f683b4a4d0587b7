"""The history of a metric, read from its file in pieces when it is wanted: it may be larger than memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from cli.migrate.bounds import Bounds
from cli.migrate.findings import Findings
from cli.migrate.folders import value_files
from cli.migrate.metric import ModelPoint, P, Point, model_point, read_points, run_point


@dataclass(frozen=True)
class History:
    """The file of one metric: where it is, and the place that findings about it name."""

    path: str
    place: str

    def pieces(self, findings: Findings, size: int = Bounds.points) -> Iterator[list[Point]]:
        """Yield a run's points, so many at a time, in each piece each once; a file without any is quarantined."""
        return self._read(run_point, findings, size)

    def model_pieces(self, findings: Findings, size: int = Bounds.points) -> Iterator[list[ModelPoint]]:
        """Yield a logged model's points, so many at a time, in each piece each once."""
        return self._read(model_point, findings, size)

    def _read(self, parse: Callable[[bytes], P], findings: Findings, size: int) -> Iterator[list[P]]:
        number = 0
        try:
            with open(self.path, "rb") as file:  # noqa: PTH123 - see folders
                points = read_points(file, parse, self.place, findings)
                while piece := dict.fromkeys(islice(points, size)):
                    number += 1
                    yield list(piece)
        except OSError as error:
            findings.quarantined(self.place, "metric", f"cannot be read: {error.strerror}")
            return
        if number == 0:
            findings.quarantined(self.place, "metric", "holds no point")


def find_histories(folder: Path, where: str, findings: Findings, root: Path) -> dict[str, History]:
    """Return the metrics below a folder; nothing of them is read yet."""
    files = value_files(folder, where, "metric", findings, root)
    return {entry.key: History(entry.path, f"{where}/{entry.key}") for entry in files}
