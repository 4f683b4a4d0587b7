"""Where the parts answer: from the environment, else from the stack that `baton up` started, else the default ports."""

import os
from dataclasses import dataclass
from pathlib import Path

from compose.local.state import read_state
from shared.settings import BusSettings, names_database

DEFAULT_DATA_DIR = Path(".baton")


@dataclass(frozen=True)
class Endpoints:
    """Addresses of the parts that the command line talks to, the key for the predictor, the token for the promoter."""

    nats: str
    predictor: str
    promoter: str
    mlflow: str
    database: str
    api_key: str = ""
    token: str = ""

    @property
    def bus(self) -> BusSettings:
        """Return the settings of a bus connection."""
        return BusSettings(nats_url=self.nats)


def find(data_dir: Path = DEFAULT_DATA_DIR) -> Endpoints:
    """Find out where the parts answer; nothing is contacted."""
    state = read_state(data_dir)
    running = state.urls if state else {}

    named = os.environ.get("MLFLOW_TRACKING_URI", "")
    database = named if names_database(named) else ""  # its server is then the running stack's

    def address(variable: str, part: str, default: str) -> str:
        return os.environ.get(variable) or running.get(part) or default

    return Endpoints(
        nats=address("BATON_NATS_URL", "nats", "nats://127.0.0.1:4222"),
        predictor=address("BATON_PREDICTOR_URL", "predictor", "http://127.0.0.1:8000"),
        promoter=address("BATON_PROMOTER_URL", "promoter", "http://127.0.0.1:8001"),
        mlflow=("" if database else named) or running.get("mlflow") or "http://127.0.0.1:5000",
        database=database or address("BATON_DATABASE_URL", "postgres", "postgresql://127.0.0.1:5432/baton"),
        api_key=os.environ.get("BATON_API_KEY", ""),
        token=os.environ.get("BATON_TOKEN") or (state.token if state else ""),
    )
