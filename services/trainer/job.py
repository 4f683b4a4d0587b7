"""A training job and what comes of it: plain values that travel between the trainer and its children."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.trainer.settings import DatasetSettings
from shared.errors import BatonError
from shared.events import HoldoutRef


@dataclass(frozen=True)
class Job:
    """Everything that a child needs to train; `folder` is its scratch space, `memory_mb` what it may allocate."""

    request_id: str
    model: str
    recipe: str
    dataset: str
    target: str | None
    params: dict[str, Any]
    seed: int
    tags: dict[str, str]
    folder: Path
    tracking_uri: str
    datasets: dict[str, DatasetSettings]
    data_roots: list[Path]
    recipes_dir: Path | None
    memory_mb: int | None


@dataclass(frozen=True)
class Progress:
    """A child reached step `step` of `of`."""

    step: int
    of: int
    message: str


@dataclass(frozen=True)
class Trained:
    """A run with a logged model, and a verified bundle in the job's folder."""

    run_id: str
    model_id: str | None
    source: str
    dataset: str
    archive: Path
    digest: str
    holdout: HoldoutRef


Report = Progress | Trained | BatonError
"""What a child says: how far it is, and last how it ended."""
