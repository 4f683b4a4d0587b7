"""Where the artifacts of a run or logged model lie before they are copied.

MLflow makes an empty folder `artifacts` in each run even where its artifacts go to another place: so their URI is asked
first. The URIs of a store that was moved name its old place; then its own folders count.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from cli.migrate.findings import Findings
from cli.migrate.locations import SERVED, is_proxied, is_remote, local_path, model_artifacts, run_artifacts
from cli.migrate.tree import META, MODELS, TRASH, relative

ARTIFACTS, USUAL = "artifacts", "mlruns"


@dataclass(frozen=True)
class SourcePlace:
    """A run's or logged model's folder in the store `root`, and the URI of its artifacts, None if nothing says it."""

    root: Path
    folder: Path
    uri: str | None

    @property
    def remote(self) -> str | None:
        """Return the URI if it names a store of its own, where artifacts stay."""
        return self.uri if self.uri and is_remote(self.uri) else None

    @property
    def where(self) -> str:
        """Return the place that findings about the artifacts name."""
        return f"{relative(self.folder, self.root)}/{ARTIFACTS}"

    def artifacts(self, findings: Findings) -> Path:
        """Return the folder that holds the artifacts; that nothing is where they should be is a finding."""
        own = self.folder / ARTIFACTS
        if self.uri is None:
            return own
        named = local_path(self.uri, self.root)
        here, there = holds(own), holds(named)
        if there and not (here and os.path.exists(named.parent / META)):  # noqa: PTH110 - never raises
            if here and own.resolve() != named.resolve():
                reason = f"its artifacts are taken from {named}, which its URI names: what lies here stays behind"
                findings.quarantined(self.where, "artifact", reason)
            return named
        if not here and self._is_gone(named):
            findings.quarantined(self._experiment.name, "artifact", self._loss(named))
        return own

    @property
    def _experiment(self) -> Path:
        return self.folder.parent.parent if self.folder.parent.name == MODELS else self.folder.parent

    def _place(self, named: Path) -> Path:
        """Return the folder of which it can be told that it should be there: a run without artifacts has none."""
        if self.uri and is_proxied(self.uri):
            return self.root.parent / SERVED
        above = named.parent.parent
        return above.parent if above.name == MODELS else above

    def _is_gone(self, named: Path) -> bool:
        place = self._place(named)
        moved = place.name == self._experiment.name and place.parent.name in {USUAL, TRASH, self.root.name}
        return not moved and not holds(place)

    def _loss(self, named: Path) -> str:
        return (
            f"artifacts belong in {self._place(named)}, which is not there or empty, and were not copied: if there are "
            "any, mount or link that folder there before you migrate"
        )


def place_of_run(root: Path, folder: Path, run: str, uri: str | None, location: str | None) -> SourcePlace:
    """Return a run's; without a URI, its experiment's `location` tells it."""
    return SourcePlace(root, folder, uri or (run_artifacts(location, run) if location else None))


def place_of_model(root: Path, folder: Path, model: str, uri: str | None, location: str | None) -> SourcePlace:
    """Return a logged model's; without a URI, its experiment's `location` tells it."""
    return SourcePlace(root, folder, uri or (model_artifacts(location, model) if location else None))


def holds(folder: Path) -> bool:
    """Tell whether a folder holds anything; of one that cannot be looked into, whoever copies it says so."""
    try:
        with os.scandir(folder) as entries:
            return any(True for _ in entries)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
