"""A predictor as a process, for tests."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.servers import free_port, running, wait_for

WORKERS = 2


@dataclass
class Predictor:
    """A running predictor: its supervising process, where it answers, what it logs."""

    process: psutil.Process
    url: str
    log: Path
    name: str

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.url}{path}", timeout=5).json()

    def predict(self, model: str, row: dict[str, Any] | None = None) -> httpx.Response:
        return httpx.post(f"{self.url}/models/{model}/predict", json=row or {"x": 1}, timeout=5)

    def workers(self) -> list[psutil.Process]:
        living = [child for child in self.process.children() if child.status() != psutil.STATUS_ZOMBIE]
        return [child for child in living if "spawn_main" in " ".join(child.cmdline())]

    def all_ready(self) -> bool:
        try:
            health = self.get("/health")
            return bool(health["workers_ready"] == health["workers_expected"])
        except httpx.HTTPError:
            return False


@contextmanager
def predictor_process(nats_url: str, folder: Path, port: int | None = None, **more: str) -> Iterator[Predictor]:
    port = port or free_port()
    environment = {
        "BATON_NATS_URL": nats_url,
        "BATON_PREDICTOR_PORT": str(port),
        "BATON_PREDICTOR_NAME": f"predictor-{folder.name}",
        "BATON_CACHE_DIR": str(folder / "cache"),
        "PREDICTOR_WORKERS": str(WORKERS),
        **more,
    }
    log = folder / "predictor.log"
    with running([sys.executable, "-m", "services.predictor"], log, environment) as process:
        predictor = Predictor(psutil.Process(process.pid), f"http://127.0.0.1:{port}", log, f"predictor-{folder.name}")
        wait_for(f"the workers (see {log})", predictor.all_ready)
        yield predictor
