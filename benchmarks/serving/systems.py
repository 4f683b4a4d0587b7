"""Starting each system with one worker, pinned to one core, on one model."""

import asyncio
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil

from benchmarks.cores import SERVER_CORE
from benchmarks.serving.dialects import DIALECTS
from benchmarks.serving.models import Model
from shared.bus import NatsBus
from shared.events import ModelPromoted
from shared.settings import BusSettings
from shared.streams import declare_when_reachable
from tests.servers import free_port, nats_server, running, wait_for

PROGRAMS = Path(sys.executable).parent
PEERS = Path(".bench").absolute()
HERE = Path(__file__).parent

KINDS = {"baton": "baton", "limit": "limit", "constant": "limit"} | dict.fromkeys(
    ["mlflow", "fastapi", "bentoml", "litserve", "mlserver"], "peer"
)
ONE_ANSWER = {"constant"}  # they have one answer to everything
APART = {"bentoml", "litserve", "mlserver"}  # they want environments of their own


@dataclass(frozen=True)
class Serving:
    """A system that answers: where, its processes, and how many seconds its start took."""

    system: str
    model: Model
    port: int
    process: psutil.Process
    start_s: float

    @property
    def questions(self) -> Path:
        """Return what it is asked, and the right answers."""
        return self.model.question if self.system in ONE_ANSWER else self.model.questions

    def resident_mb(self) -> float:
        """Return the resident memory of its processes together."""
        processes = [self.process, *self.process.children(recursive=True)]
        return sum(process.memory_info().rss for process in processes) / 1e6


Command = tuple[list[str], dict[str, str]]


def _uvicorn(app: str, port: int, model: Path) -> Command:
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    command = [sys.executable, "-m", "uvicorn", "--factory", app, "--port", str(port), *options]
    return command, {"BENCH_MODEL": str(model)}


def _limit(model: Model, port: int) -> Command:
    return _uvicorn("benchmarks.serving.limit:create_app", port, model.onnx)


def _constant(model: Model, port: int) -> Command:
    command, _ = _uvicorn("benchmarks.serving.constant:create_app", port, model.onnx)
    (first, *_) = json.loads(model.question.read_text())["answers"]
    return command, {"BENCH_ANSWER": json.dumps([[1 - first, first]])}


def _fastapi(model: Model, port: int) -> Command:
    return _uvicorn("benchmarks.serving.plain:create_app", port, model.pickle)


def _mlflow(model: Model, port: int) -> Command:
    options = ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    path = {"PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    return [str(PROGRAMS / "mlflow"), "models", "serve", "--model-uri", str(model.mlflow), *options], path


def _bentoml(model: Model, port: int) -> Command:
    options = ["--host", "127.0.0.1", "--port", str(port), "--working-dir", str(HERE)]
    quiet = {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(model.folder / "bentoml")}
    return [str(PEERS / "bentoml/bin/bentoml"), "serve", "bento:Bento", *options], {
        "BENCH_MODEL": str(model.pickle),
        **quiet,
    }


def _litserve(model: Model, port: int) -> Command:
    return [str(PEERS / "litserve/bin/python"), str(HERE / "lit.py"), str(port)], {"BENCH_MODEL": str(model.pickle)}


def _mlserver(model: Model, port: int) -> Command:
    folder = model.folder / "mlserver"
    folder.mkdir(exist_ok=True)
    more = {"host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    (folder / "settings.json").write_text(json.dumps({"parallel_workers": 0, "debug": False, **more}))
    served = {"name": model.name, "implementation": "mlserver_sklearn.SKLearnModel"}
    (folder / "model-settings.json").write_text(json.dumps({**served, "parameters": {"uri": str(model.pickle)}}))
    return [str(PEERS / "mlserver/bin/mlserver"), "start", str(folder)], {}


COMMANDS: dict[str, Callable[[Model, int], Command]] = {
    "limit": _limit,
    "constant": _constant,
    "mlflow": _mlflow,
    "fastapi": _fastapi,
    "bentoml": _bentoml,
    "litserve": _litserve,
    "mlserver": _mlserver,
}


def installed() -> list[str]:
    """Return the systems that can be started here."""
    return [name for name in KINDS if name not in APART or (PEERS / name / "ready").exists()]


@contextmanager
def serve(system: str, model: Model) -> Iterator[Serving]:
    """Run a system until its caller is done with it."""
    if system == "baton":
        with nats_server(model.folder) as nats_url:
            asyncio.run(promote(nats_url, model))
            with _started(system, model, _predictor(nats_url, model)) as serving:
                yield serving
    else:
        with _started(system, model, COMMANDS[system]) as serving:
            yield serving


def _predictor(nats_url: str, model: Model) -> Callable[[Model, int], Command]:
    def command(_: Model, port: int) -> Command:
        return [sys.executable, "-m", "services.predictor"], {
            "BATON_NATS_URL": nats_url,
            "BATON_PREDICTOR_PORT": str(port),
            "BATON_CACHE_DIR": str(model.folder / "cache"),
            "PREDICTOR_WORKERS": "1",
        }

    return command


async def promote(nats_url: str, model: Model) -> None:
    """Say on the bus what relay and trainer say of a champion: its bundle is stored, it was promoted."""
    async with NatsBus(BusSettings(nats_url=nats_url), "benchmark") as bus:
        await declare_when_reachable(bus.js, 1)
        bundle = await bus.put_bundle(model.bundle, model.manifest.digest())
        promoted = ModelPromoted(
            version="1",
            bundle=bundle,
            generation=1,
            ledger=str(uuid.uuid4()),
            actor="benchmark",
            reason="",
            committed_at=datetime.now(UTC),
        )
        await bus.publish(promoted, model.name)


@contextmanager
def _started(system: str, model: Model, command: Callable[[Model, int], Command]) -> Iterator[Serving]:
    port = free_port()
    argv, environment = command(model, port)
    log = model.folder / f"{system}.log"
    began = time.monotonic()
    pinned = lambda: os.sched_setaffinity(0, {SERVER_CORE})  # noqa: E731
    with running(argv, log, environment, preexec_fn=pinned) as process:
        try:
            wait_for(f"{system} (see {log})", lambda: _answers(system, model, port), 120)
            yield Serving(system, model, port, psutil.Process(process.pid), time.monotonic() - began)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def _answers(system: str, model: Model, port: int) -> bool:
    dialect, known = DIALECTS[system], json.loads(model.questions.read_text())
    url = f"http://127.0.0.1:{port}{dialect.path.format(model=model.name)}"
    try:
        answer = httpx.post(url, json=dialect.ask(known["rows"][:1]), timeout=5)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200
