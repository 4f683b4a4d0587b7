"""Settings of the trainer."""

import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from shared.settings import RegistrySettings, ServiceSettings

BUILT_IN_DATA = Path(__file__).parents[2] / "shared" / "datasets"


class DatasetSettings(BaseModel):
    """A dataset with a name: its table, its target, and the columns that are not what they look like.

    `path` is a file or a URL; `categorical` names columns that are categories though they hold numbers, `numeric` those
    that are numbers though some of their values are not (these count as missing).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    path: str = Field(validation_alias=AliasChoices("path", "url"))
    target: str | None = None
    categorical: list[str] = []
    numeric: list[str] = []


HEART_DISEASE = DatasetSettings(
    path=str(BUILT_IN_DATA / "heart_disease.csv"), target="target", categorical=["cp", "restecg", "slope", "thal"]
)


class TrainerSettings(ServiceSettings, RegistrySettings):
    """What may be trained on, with which recipes, and within which limits."""

    model_config = SettingsConfigDict(env_prefix="BATON_", extra="ignore", populate_by_name=True)

    trainer_port: int = Field(default=8002, ge=0, lt=65536)
    trainer_dir: Path = Field(default=Path(".baton/trainer"), description="scratch space")
    datasets: Annotated[dict[str, DatasetSettings], NoDecode] = Field(default_factory=dict, validate_default=True)
    data_roots: Annotated[list[Path], NoDecode] = Field(default_factory=list)
    recipes_dir: Path | None = None
    concurrency: int = Field(default=1, ge=1, description="how many trainings run at once")
    train_timeout_s: float = Field(default=600.0, gt=0)
    max_attempts: int = Field(default=3, ge=1, description="how often a training that crashes is tried")
    train_memory_mb: int | None = Field(default=None, gt=0, description="what one training may allocate")

    @field_validator("datasets", mode="before")
    @classmethod
    def _read_datasets(cls, value: Any) -> Any:
        """Take a mapping, as JSON text, or a YAML, JSON or TOML file of that; the built-in dataset is always there."""
        named = _parse(value) if isinstance(value, str) else value
        if not isinstance(named, dict):
            raise ValueError(  # noqa: TRY004 - what pydantic reports
                "expected a mapping of names to datasets as JSON, or the path of a YAML, JSON or TOML file with one"
            )
        return {"heart-disease": HEART_DISEASE, **named}

    @field_validator("data_roots", mode="before")
    @classmethod
    def _split_roots(cls, value: Any) -> Any:
        return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value


def _parse(value: str) -> Any:
    """Read a mapping from JSON text, or from the file that has this path."""
    try:
        if value.lstrip().startswith("{"):
            return json.loads(value)
        text = Path(value).expanduser().read_text(encoding="utf-8")
        return tomllib.loads(text) if value.endswith(".toml") else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"cannot be read: {error}") from error
