"""Where artifacts are and where they go: URIs of the old store, rewritten to the new one.

A FileStore's URIs are absolute paths of the machine that wrote it, and stores get moved: so a path is understood by
the experiment and the run or model in it, not by what stands before them.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

REMOTE = re.compile(r"^(?!file:|models:|runs:)[a-zA-Z][a-zA-Z0-9+.\-]+:/")
RUN_PART = re.compile(r"/(?P<id>[^/]+)/artifacts(?P<rest>/.*)?$")
LOGGED_PART = re.compile(r"/models/(?P<id>m-[^/]+)/artifacts(?P<rest>/.*)?$")


def is_remote(uri: str) -> bool:
    """Tell whether a URI names a store of its own (S3 and the like), where artifacts can stay."""
    return bool(REMOTE.match(uri))


def local_path(uri: str) -> Path:
    """Return the path that a local URI means, on the machine that wrote it."""
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else Path(uri)


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


def inside_run(uri: str) -> tuple[str, str] | None:
    """Return the run and the path below its artifacts that a local URI names, if it names such."""
    found = RUN_PART.search(local_path(uri).as_posix().rstrip("/"))
    return (found["id"], found["rest"] or "") if found else None


def inside_logged_model(uri: str) -> tuple[str, str] | None:
    """Return the logged model and the path below its artifacts that a local URI names, if it names such."""
    found = LOGGED_PART.search(local_path(uri).as_posix().rstrip("/"))
    return (found["id"], found["rest"] or "") if found else None
