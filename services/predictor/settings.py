"""Settings of the predictor."""

import json
import socket
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode

from shared.settings import ServiceSettings, is_loopback


class PredictorSettings(ServiceSettings):
    """Where HTTP is answered, by how many workers, from which disk cache."""

    predictor_port: int = Field(default=8000, ge=0, lt=65536)
    workers: int = Field(default=1, ge=1, validation_alias="PREDICTOR_WORKERS")
    cache_dir: Path = Path(".baton/predictor")
    cache_mb: int = Field(default=10_000, gt=0, description="megabytes of bundles on disk; those of champions stay")
    predictor_name: str | None = Field(default=None, min_length=1, description="this instance, in events")
    default_model: str | None = Field(default=None, description="the model that /predict means")
    models: Annotated[frozenset[str] | None, NoDecode] = Field(
        default=None, min_length=1, description="the only models that are served and prefetched here"
    )
    loading: Literal["eager", "lazy"] = Field(
        default="eager", description="whether a champion is loaded when it is promoted, or when it is first asked for"
    )
    loaded_models: int | None = Field(
        default=None, gt=0, description="with `lazy`: models that are loaded at a time, the last that were asked for"
    )
    max_body_bytes: int = Field(default=10_000_000, gt=0)
    max_rows: int = Field(default=10_000, gt=0)
    max_requests: int = Field(default=256, gt=0, description="requests that one worker has at a time; more are refused")
    max_batch_rows: int = Field(default=1_000, gt=0, description="rows that requests for scikit-learn share a call by")
    request_timeout_s: float = Field(default=30.0, gt=0, description="from a request's headers to its answer")
    drain_s: float = Field(default=1.0, ge=0, description="how long requests are still taken once SIGTERM came")
    api_keys_file: Path | None = Field(default=None, description="the hashes of the keys that clients show")
    api_keys: bool | None = Field(default=None, description="off: nobody is asked for a key")
    access_log: bool = Field(default=False, description="write a line per request")
    heartbeat_s: float = Field(default=5.0, gt=0)
    verify_deadline_s: float = Field(default=60.0, gt=0, description="how long loading and checking a bundle may take")
    allow_pyfunc: bool = Field(default=False, description="serve MLflow models of any flavor, which are code")
    kept_models: int = Field(
        default=4, ge=1, description="verified models in memory per model name: champion, former one, challengers"
    )

    @field_validator("models", mode="before")
    @classmethod
    def _split_models(cls, value: Any) -> Any:
        """Take names with commas between them, or as a JSON list where a name holds a comma."""
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            return json.loads(value)
        return [name.strip() for name in value.split(",") if name.strip()]

    @model_validator(mode="after")
    def _bound_is_of_lazy_ones(self) -> Self:
        if self.loaded_models is not None and self.loading != "lazy":
            raise ValueError("loaded_models bounds what is loaded when it is asked for: set BATON_LOADING=lazy, too")
        return self

    @model_validator(mode="after")
    def _default_is_served(self) -> Self:
        if self.models is not None and self.default_model is not None and self.default_model not in self.models:
            raise ValueError(
                f"default_model {self.default_model!r} is not among models: {', '.join(sorted(self.models))}"
            )
        return self

    @model_validator(mode="after")
    def _strangers_are_kept_out(self) -> Self:
        if self.api_keys is not False and self.api_keys_file is None and (self.api_keys or not is_loopback(self.host)):
            raise ValueError(
                f"whoever reaches {self.host} could ask for predictions: set BATON_API_KEYS_FILE to a file of keys "
                "(`baton key NAME` makes one), or BATON_API_KEYS=off if something in front of this predictor asks "
                "who comes"
            )
        return self

    @property
    def instance(self) -> str:
        """Return this instance's name. Of equal names only one would be heard: they go into the ids of events."""
        return self.predictor_name or f"{socket.gethostname()}:{self.predictor_port}"

    @property
    def asks_for_keys(self) -> bool:
        """Return whether clients must show a key."""
        return self.api_keys is not False and self.api_keys_file is not None
