"""Where artifacts are and where they go: URIs of the old store, rewritten to the new one.

A FileStore's URIs are absolute paths of the machine that wrote it, and stores get moved: so a path is understood by
the experiment and the run or model in it, not by what stands before them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cli.migrate.records import LOGGED_MODEL, RUN

REMOTE = re.compile(r"^(?!file:|models:|runs:|mlflow-artifacts:)[a-zA-Z][a-zA-Z0-9+.\-]+:/")
PROXIED = "mlflow-artifacts"
SERVED = "mlartifacts"  # where `mlflow server` keeps what goes through it, unless it is told otherwise
RUN_PART = re.compile(r"(?=/(?P<id>[^/]+)/artifacts(?P<rest>/.*)?$)")  # matches may overlap
LOGGED_PART = re.compile(r"(?=/models/(?P<id>m-[^/]+)/artifacts(?P<rest>/.*)?$)")


def is_remote(uri: str) -> bool:
    """Tell whether a URI names a store of its own (S3 and the like), where artifacts can stay."""
    return bool(REMOTE.match(uri))


def is_proxied(uri: str) -> bool:
    """Tell whether MLflow's server kept the files of a URI in a folder of its own."""
    return uri.startswith(f"{PROXIED}:")


def local_path(uri: str, root: Path) -> Path:
    """Return the path that a URI means which is not remote; `root` is the FileStore's, absolute.

    What is relative counts from the folder that the store lies in, where MLflow was started: `mlartifacts`, too.
    """
    parts = urlsplit(uri)
    if parts.scheme == PROXIED:
        return root.parent / SERVED / unquote(parts.path).lstrip("/")
    return root.parent / (unquote(parts.path) if parts.scheme == "file" else uri)


@dataclass(frozen=True)
class Locations:
    """New places of artifacts: below `root` (a URI without a slash at its end), as MLflow lays them out."""

    root: str

    def experiment(self, experiment: int) -> str:
        """Return where MLflow puts the artifacts of an experiment."""
        return f"{self.root}/{experiment}"

    def version(self, model: str, version: int) -> str:
        """Return where the files of a version go that belong to no run and no logged model."""
        return f"{self.root}/models/{model}/{version}"


def run_artifacts(experiment_location: str, run_id: str) -> str:
    """Return where MLflow puts a run's artifacts."""
    return f"{experiment_location.rstrip('/')}/{run_id}/artifacts"


def model_artifacts(experiment_location: str, model_id: str) -> str:
    """Return where MLflow puts a logged model's artifacts."""
    return f"{experiment_location.rstrip('/')}/models/{model_id}/artifacts"


def inside_run(uri: str) -> list[tuple[str, str]]:
    """Return the runs, with the path below their artifacts, that a URI may name: other folders are called so, too."""
    return _inside(RUN_PART, uri)


def inside_logged_model(uri: str) -> list[tuple[str, str]]:
    """Return the logged models, with the path below their artifacts, that a URI may name."""
    return _inside(LOGGED_PART, uri)


def migrated_place(uri: str, target_of: Callable[[str, str], str | None]) -> str | None:
    """Return where the files of a version are that stay, or went along with a run or logged model; None if neither.

    `target_of` says what became of a run's or logged model's artifacts, by kind and id.
    """
    if is_remote(uri) or uri.startswith(("models:", "runs:")):
        return uri
    for kind, places in ((LOGGED_MODEL, inside_logged_model(uri)), (RUN, inside_run(uri))):
        for key, rest in places:
            if base := target_of(kind, key):
                return base + rest
    return None


def _inside(part: re.Pattern[str], uri: str) -> list[tuple[str, str]]:
    path = local_path(uri, Path("/")).as_posix().rstrip("/")
    return [(found["id"], found["rest"] or "") for found in part.finditer(path)]
