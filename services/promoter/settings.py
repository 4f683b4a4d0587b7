"""Settings of the promoter."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.settings import RegistrySettings, ServiceSettings, libpq_url

DOCUMENTATION = Path(__file__).parents[2] / "docs"


class BundlingSettings(BaseSettings):
    """What opening somebody's model may cost, and whether its files may be code."""

    model_config = SettingsConfigDict(env_prefix="BATON_", extra="ignore", populate_by_name=True)

    bundle_timeout_s: float = Field(default=120.0, gt=0)
    bundle_memory_mb: int = Field(default=4096, ge=512)
    allow_pyfunc: bool = Field(default=False, description="open model files that are code: pickles, other flavors")


class PromoterSettings(ServiceSettings, RegistrySettings, BundlingSettings):
    """Where MLflow's PostgreSQL is, which policy decides, where HTTP is answered."""

    model_config = SettingsConfigDict(env_prefix="BATON_", extra="ignore", populate_by_name=True)

    promoter_port: int = Field(default=8001, ge=0, lt=65536)
    database_url: str = Field(
        description="the PostgreSQL of the ledger, which is MLflow's own where capture is by triggers"
    )
    capture: Literal["triggers", "poll"] = Field(
        default="triggers", description="poll: watch MLflow through its API, with the ledger in a database of its own"
    )
    poll_s: float = Field(default=2.0, ge=0.1, le=3600)
    reconcile_s: float = Field(default=30.0, ge=0.1, le=86400)
    policy_file: Path | None = None
    asyncapi_file: Path = Field(default=DOCUMENTATION / "asyncapi.json", description="AsyncAPI of all services")

    @field_validator("database_url")
    @classmethod
    def _for_libpq(cls, url: str) -> str:
        plain = libpq_url(url)
        if not plain.startswith(("postgresql://", "postgres://")):
            raise ValueError(
                "must be a postgresql:// URL: MLflow on PostgreSQL, or with BATON_CAPTURE=poll any PostgreSQL"
            )
        return plain
