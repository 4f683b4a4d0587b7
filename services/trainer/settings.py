"""Settings of the trainer."""

import os
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from shared.settings import RegistrySettings, ServiceSettings

BUILT_IN_DATA = Path(__file__).parents[2] / "shared" / "datasets"


class DatasetSettings(BaseModel):
    """A dataset with a name: its table, its target, and which columns are categories though they are numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
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
    train_timeout_s: float = Field(default=600.0, gt=0)
    max_attempts: int = Field(default=3, ge=1, description="how often a training that crashes is tried")
    train_memory_mb: int | None = Field(default=None, gt=0, description="address space of one training")

    @field_validator("datasets", mode="before")
    @classmethod
    def _read_datasets(cls, value: Any) -> Any:
        """Take a mapping, as JSON or YAML text, or a file of that; the built-in dataset is always there."""
        if isinstance(value, str):
            text = Path(value).read_text(encoding="utf-8") if Path(value).is_file() else value
            value = yaml.safe_load(text)
        if not isinstance(value, dict):
            raise ValueError(  # noqa: TRY004 - what pydantic reports
                "expected a mapping of names to datasets, or the path of a YAML or JSON file with one"
            )
        return {"heart-disease": HEART_DISEASE, **value}

    @field_validator("data_roots", mode="before")
    @classmethod
    def _split_roots(cls, value: Any) -> Any:
        return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value
