"""What can be set about the stack on one machine: its directory, its ports, the parts that already run elsewhere."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PORT_FIELDS = {
    "predictor": "predictor_port",
    "promoter": "promoter_port",
    "trainer": "trainer_port",
    "mlflow": "mlflow_port",
    "nats": "nats_port",
    "nats_monitor": "nats_monitor_port",
    "postgres": "postgres_port",
}

ALWAYS = "always"


def _port(default: int) -> int:
    return Field(default=default, ge=0, le=65535, description="0 takes any free port")


class StackSettings(BaseSettings):
    """The stack on one machine; a part whose address is set is attached instead of started."""

    model_config = SettingsConfigDict(env_prefix="BATON_", extra="ignore", populate_by_name=True, env_ignore_empty=True)

    data_dir: Path = Path(".baton")
    predictor_port: int = _port(8000)
    promoter_port: int = _port(8001)
    trainer_port: int = _port(8002)
    mlflow_port: int = _port(5000)
    nats_port: int = _port(4222)
    nats_monitor_port: int = _port(8222)
    postgres_port: int = _port(5432)
    predictor_workers: int = Field(default=2, ge=1, validation_alias="PREDICTOR_WORKERS")
    nats_sync: str = Field(
        default=ALWAYS,
        pattern=rf"^({ALWAYS}|\d+(ms|s|m|h))$",
        description="when what NATS acknowledged is on the disk: before it says so, or as `2m` that much later at most",
    )
    database_url: str | None = None
    nats_url: str | None = None
    tracking_uri: str | None = Field(default=None, validation_alias="MLFLOW_TRACKING_URI")
    capture: Literal["triggers", "poll"] = Field(default="triggers", description="the promoter's own setting")
    port_fallback: bool = Field(
        default=False, description="replace a default port that is taken by a free one instead of refusing to start"
    )

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().resolve()

    @property
    def ports(self) -> dict[str, int]:
        """Return the wanted port of each service."""
        return {service: getattr(self, field) for service, field in PORT_FIELDS.items()}

    @property
    def replaceable_ports(self) -> set[str]:
        """Return the services whose port may be replaced: nobody chose it, and `port_fallback` allows it."""
        if not self.port_fallback:
            return set()
        fields = type(self).model_fields
        return {name for name, field in PORT_FIELDS.items() if getattr(self, field) == fields[field].default}
