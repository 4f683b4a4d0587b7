"""The same promotions by MLServer's load API: its settings name the next version, then it is told to load it."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from benchmarks.cores import SERVER_CORE
from benchmarks.reload.stack import place, tree
from benchmarks.reload.versions import Two
from benchmarks.serving.systems import PEERS
from tests.servers import answers, free_port, running, wait_for

PROGRAM = PEERS / "mlserver/bin/mlserver"


class Loads:
    """Promotes versions; each has a number, without which no answer could name what made it."""

    def __init__(self, two: Two, folder: Path, port: int) -> None:
        self.port = port
        self._two = two
        self._settings = folder / "model-settings.json"
        self._made = 0

    async def register(self) -> str:
        """Return the next version; what it is is on disk already."""
        self._made += 1
        return str(self._made)

    def name(self, version: str) -> None:
        """Have the settings name a version."""
        parameters = {"uri": str(self._two.pickle(int(version))), "version": version}
        served = {"name": self._two.name, "implementation": "mlserver_sklearn.SKLearnModel", "parameters": parameters}
        self._settings.write_text(json.dumps(served))

    async def promote(self, version: str) -> list[float]:
        """Load a version; return the milliseconds that the call took, after which the version serves."""
        self.name(version)
        began = time.perf_counter()
        async with httpx.AsyncClient(timeout=120) as client:
            url = f"http://127.0.0.1:{self.port}/v2/repository/models/{self._two.name}/load"
            (await client.post(url)).raise_for_status()
        return [(time.perf_counter() - began) * 1e3]


@contextmanager
def mlserver(two: Two) -> Iterator[tuple[Loads, psutil.Process]]:
    """Run MLServer, all of it in one process, which is returned, on the core that the predictor had."""
    folder, port = two.folder / "mlserver", free_port()
    folder.mkdir()
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    settings = {"parallel_workers": 0, "debug": False, "host": "127.0.0.1", **ports}
    (folder / "settings.json").write_text(json.dumps(settings))
    loads = Loads(two, folder, port)
    loads.name("1")
    with running([str(PROGRAM), "start", str(folder)], two.folder / "mlserver.log") as process:
        server = psutil.Process(process.pid)
        place(tree(server), SERVER_CORE, os.SCHED_OTHER)
        wait_for("MLServer", answers(f"http://127.0.0.1:{port}/v2/models/{two.name}/ready"), 120)
        yield loads, server
