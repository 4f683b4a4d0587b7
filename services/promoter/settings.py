"""Settings of the promoter."""

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from shared.settings import RegistrySettings, ServiceSettings, libpq_url

DOCUMENTATION = Path(__file__).parents[2] / "docs"


class PromoterSettings(ServiceSettings, RegistrySettings):
    """Where MLflow's PostgreSQL is, which policy decides, where HTTP is answered."""

    model_config = SettingsConfigDict(env_prefix="BATON_", extra="ignore", populate_by_name=True)

    promoter_port: int = Field(default=8001, ge=0, lt=65536)
    database_url: str = Field(description="MLflow's PostgreSQL; the ledger lives in its schema `baton`")
    policy_file: Path | None = None
    asyncapi_file: Path = Field(default=DOCUMENTATION / "asyncapi.json", description="AsyncAPI of all services")

    @field_validator("database_url")
    @classmethod
    def _for_libpq(cls, url: str) -> str:
        plain = libpq_url(url)
        if not plain.startswith(("postgresql://", "postgres://")):
            raise ValueError("must be a postgresql:// URL: capture needs MLflow on PostgreSQL")
        return plain
