"""Settings of the promoter."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.settings import RegistrySettings, ServiceSettings, is_loopback, libpq_url

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
    tokens_file: Path | None = Field(default=None, description="the hashes of the tokens that let commands in")
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        default=[], description="names under which this promoter may be asked; by default its own on loopback, else any"
    )
    open_reads: bool | None = Field(default=None, description="reads need no token; by default on loopback only")
    asyncapi_file: Path = Field(default=DOCUMENTATION / "asyncapi.json", description="AsyncAPI of all services")

    @property
    def reads_are_open(self) -> bool:
        """Return whether whoever reaches this promoter may read what it knows."""
        return is_loopback(self.host) if self.open_reads is None else self.open_reads

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: str | list[str]) -> list[str]:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _own_names(self) -> Self:
        """Where only this machine asks, a name that somebody else's page made up for this address means nothing."""
        if not self.allowed_hosts and is_loopback(self.host):
            self.allowed_hosts = ["localhost", "127.0.0.1", "[::1]", self.host]
        return self

    @field_validator("database_url")
    @classmethod
    def _for_libpq(cls, url: str) -> str:
        plain = libpq_url(url)
        if not plain.startswith(("postgresql://", "postgres://")):
            raise ValueError(
                "must be a postgresql:// URL: MLflow on PostgreSQL, or with BATON_CAPTURE=poll any PostgreSQL"
            )
        return plain
