"""Settings of the predictor."""

import socket
from pathlib import Path

from pydantic import Field

from shared.settings import ServiceSettings


class PredictorSettings(ServiceSettings):
    """Where HTTP is answered, by how many workers, from which disk cache."""

    predictor_port: int = Field(default=8000, ge=0, lt=65536)
    workers: int = Field(default=1, ge=1, validation_alias="PREDICTOR_WORKERS")
    cache_dir: Path = Path(".baton/predictor")
    predictor_name: str = Field(default_factory=socket.gethostname, description="this instance, in events")
    default_model: str | None = Field(default=None, description="the model that /predict means")
    max_body_bytes: int = Field(default=10_000_000, gt=0)
    max_rows: int = Field(default=10_000, gt=0)
    heartbeat_s: float = Field(default=5.0, gt=0)
    verify_deadline_s: float = Field(default=60.0, gt=0, description="how long loading and checking a bundle may take")
    allow_pyfunc: bool = Field(default=False, description="serve MLflow models of any flavor, which are code")
    kept_models: int = Field(
        default=4, ge=1, description="verified models in memory per model name: champion, former one, challengers"
    )
