"""Settings that every service reads: where NATS and MLflow are, and how to log.

Values come from the environment (`BATON_*`; `MLFLOW_TRACKING_URI` keeps MLflow's own name). Nothing is read when this
module is imported, only when a settings object is made.
"""

import ipaddress
import re
from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import SettingsError


class BusSettings(BaseSettings):
    """Where the bus is and how many copies its streams keep."""

    model_config = SettingsConfigDict(env_prefix="BATON_", extra="ignore", populate_by_name=True)

    nats_url: str = Field(default="nats://127.0.0.1:4222", description="of a cluster all servers, with commas between")
    nats_inbox: str = Field(default="_INBOX", pattern=r"^[\w-]+$", description="where answers to this user go")
    nats_tls_ca: Path | None = Field(default=None, description="certificates of whom to trust; else the machine's own")
    nats_tls_cert: Path | None = Field(default=None, description="this client's certificate, where NATS asks for one")
    nats_tls_key: Path | None = Field(default=None, description="its key, where it is not in the same file")
    nats_tls_first: bool = Field(default=False, description="nothing is said before TLS; NATS needs handshake_first")
    replicas: int = Field(default=1, ge=1, le=5, description="copies of each stream: 1 on one machine, 3 in a cluster")
    declare_streams: bool = Field(default=True, description="false: wait until another service has made the streams")

    @property
    def nats_is_encrypted(self) -> bool:
        """Return whether NATS is spoken to by TLS."""
        is_asked_for = any(url.startswith("tls://") for url in self.nats_servers)
        return is_asked_for or bool(self.nats_tls_ca or self.nats_tls_cert)

    @property
    def nats_servers(self) -> list[str]:
        """Return the address of each NATS server."""
        return [url.strip() for url in self.nats_url.split(",")]


class ServiceSettings(BusSettings):
    """What every service has: a bus, an address for health and documentation, a log format."""

    host: str = "127.0.0.1"
    log_level: str = "INFO"
    log_json: bool = False
    otlp_endpoint: str = Field(default="", pattern=r"^(https?://.+)?$", description="where traces go; nowhere if empty")


class RegistrySettings(BaseSettings):
    """Where MLflow answers: its server, or its database itself (`postgresql://...`)."""

    model_config = SettingsConfigDict(env_prefix="BATON_", extra="ignore", populate_by_name=True)

    tracking_uri: str = Field(default="http://127.0.0.1:5000", validation_alias="MLFLOW_TRACKING_URI")

    @field_validator("tracking_uri")
    @classmethod
    def _with_driver(cls, uri: str) -> str:
        return sqlalchemy_url(uri)


POSTGRESQL = ("postgresql://", "postgres://", "postgresql+psycopg2://")
S = TypeVar("S", bound=BaseSettings)


def load(kind: type[S], **overrides: object) -> S:
    """Read settings of a kind from the environment; raise `SettingsError` naming every fault at once."""
    try:
        return kind(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        faults = "; ".join(": ".join(filter(None, (".".join(map(str, e["loc"])), e["msg"]))) for e in error.errors())
        raise SettingsError(f"settings are not usable: {faults}") from error


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches an address that something is bound to."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def names_database(url: str | None) -> bool:
    """Tell whether an address is PostgreSQL's: MLFLOW_TRACKING_URI may name MLflow's database instead of its server."""
    return (url or "").startswith(POSTGRESQL)


def sqlalchemy_url(url: str) -> str:
    """Name the psycopg2 driver in a PostgreSQL URL: SQLAlchemy 2.1 takes a bare `postgresql://` to mean psycopg 3."""
    for bare in ("postgresql://", "postgres://"):
        if url.startswith(bare):
            return "postgresql+psycopg2://" + url.removeprefix(bare)
    return url


def libpq_url(url: str) -> str:
    """Take SQLAlchemy's driver out of a PostgreSQL URL, as libpq and psycopg2 want it."""
    return url.replace("postgresql+psycopg2://", "postgresql://", 1)


def without_password(url: str) -> str:
    """Return a URL, or several with commas between, as may be shown: `postgresql://baton:***@...`."""
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", url)
