"""What the registry knows of models and their versions, and the tags that Baton writes on a version."""

from dataclasses import dataclass, field
from typing import TypeVar

from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from pydantic import BaseModel, ValidationError

from shared.events import BundleRef, HoldoutRef

CHAMPION = "champion"
PRODUCTION, NO_STAGE = "Production", "None"

# Tags on a model version: what Baton knows of it, in the transaction that creates it.
TAG_REQUEST = "baton.request_id"
TAG_BUNDLE = "baton.bundle"
TAG_HOLDOUT = "baton.holdout"
TAG_DATASET = "baton.dataset"
TAG_GOLDEN = "baton.golden"

Reference = TypeVar("Reference", bound=BaseModel)


@dataclass(frozen=True)
class Version:
    """A registered model version with what Baton recorded on it."""

    model: str
    version: str
    run_id: str | None
    stage: str
    bundle: BundleRef | None = None
    holdout: HoldoutRef | None = None
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Registered:
    """A registered model: its champion, and when MLflow last changed it or one of its stages (milliseconds)."""

    model: str
    champion: str | None
    updated: int


def read_model(found: RegisteredModel) -> Registered:
    """Read a registered model from what MLflow answers."""
    champion = found.aliases.get(CHAMPION)
    return Registered(found.name, str(champion) if champion is not None else None, found.last_updated_timestamp or 0)


def read_version(found: ModelVersion) -> Version:
    """Read a version from what MLflow answers."""
    tags = dict(found.tags)
    return Version(
        model=found.name,
        version=str(found.version),
        run_id=found.run_id or None,
        stage=found.current_stage or NO_STAGE,
        bundle=_readable(BundleRef, tags.get(TAG_BUNDLE)),
        holdout=_readable(HoldoutRef, tags.get(TAG_HOLDOUT)),
        tags=tags,
    )


def _readable(kind: type[Reference], tag: str | None) -> Reference | None:
    try:
        return kind.model_validate_json(tag or "")
    except ValidationError:  # anybody may write tags: what cannot be read is not there
        return None
