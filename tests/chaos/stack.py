"""The stack under test: what `baton up` starts, with two promoters and without patience between restarts.

Tests of several hosts bring a NATS of their own, and have more predictors.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from compose.local import services
from compose.local.backoff import Backoff
from compose.local.child import Change, Child
from compose.local.datadir import DataDir
from compose.local.lock import held
from compose.local.mlflow import mlflow_child
from compose.local.nats import nats_child
from compose.local.ports import HOST, choose
from compose.local.postgres import database_url, postgres_child
from compose.local.supervisor import Supervisor
from shared.faults import FOLDER
from tests.chaos.journal import Journal

PROMOTERS = ("promoter-1", "promoter-2")
PORTS = ("nats", "nats_monitor", "postgres", "mlflow", "trainer", *PROMOTERS)
WORKERS = 2
IMPATIENT = Backoff(first_s=0.1, factor=1.0)
READY_WITHIN_S = 240.0  # on a machine that is busy with other things too


@dataclass(frozen=True)
class Stack:
    """A running stack: its children and their present processes, and where it answers."""

    data: DataDir
    supervisor: Supervisor
    children: list[Child]
    nats: str
    mlflow: str
    database: str
    predictors: list[str]

    @property
    def faults(self) -> Path:
        """The folder that arms fault points."""
        return self.data.root / "faults"


@dataclass(frozen=True)
class Bus:
    """A NATS that runs already: its address, as each service is to name it, and as the test does."""

    nats: str
    of: Callable[[str], dict[str, str]]
    """The environment that a service reaches it by, by its name."""


@asynccontextmanager
async def running(
    data_dir: Path, journal: Journal, predictors: Sequence[str] = ("predictor",), bus: Bus | None = None
) -> AsyncIterator[Stack]:
    """Start everything on free ports in a new data directory (absolute), and stop it afterwards."""
    data = DataDir(data_dir)
    data.create()
    (data.root / "faults").mkdir()

    def hear(change: Change) -> None:
        journal.note(f"{change.part} {change.state} {change.detail}")

    async with held(data):
        ports = choose(dict.fromkeys((*PORTS, *predictors), 0))
        stack = _stack(data, ports, hear, predictors, bus)
        async with stack.supervisor.running():
            yield stack


def _stack(data: DataDir, ports: dict[str, int], hear, predictors: Sequence[str], bus: Bus | None) -> Stack:
    database = database_url(data, ports["postgres"])
    mlflow = f"http://{HOST}:{ports['mlflow']}"
    own = f"nats://{HOST}:{ports['nats']}"
    reached = bus or Bus(own, lambda _: {"BATON_NATS_URL": own})
    children = [
        *([] if bus else [nats_child(data, ports["nats"], ports["nats_monitor"])]),
        *_registry(data, ports, database),
        *_services(data, ports, reached, {"MLFLOW_TRACKING_URI": mlflow}, database),
        *(_predictor(name, data, ports[name], reached) for name in predictors),
    ]
    children = [replace(child, ready_within_s=READY_WITHIN_S) for child in children]
    supervisor = Supervisor(children, data, hear, IMPATIENT)
    answering = [f"http://{HOST}:{ports[name]}" for name in predictors]
    return Stack(data, supervisor, children, reached.nats, mlflow, database, answering)


def _registry(data: DataDir, ports: dict[str, int], database: str) -> list[Child]:
    return [postgres_child(data, ports["postgres"]), mlflow_child(data, ports["mlflow"], database)]


def _services(
    data: DataDir, ports: dict[str, int], bus: Bus, registry: dict[str, str], database: str
) -> Iterator[Child]:
    common = {**registry, FOLDER: str(data.root / "faults")}
    trainer = {
        **bus.of("trainer"),
        **common,
        "BATON_TRAINER_DIR": str(data.root / "trainer"),
        "BATON_MAX_ATTEMPTS": "10",
        "BATON_CONCURRENCY": "2",
    }
    yield services.service("trainer", ports["trainer"], trainer, after=("nats",))
    ledger = {**bus.of("promoter"), **common, "BATON_DATABASE_URL": database}
    for name in PROMOTERS:
        yield replace(services.service("promoter", ports[name], ledger, after=("nats", "postgres")), name=name)


def _predictor(name: str, data: DataDir, port: int, bus: Bus) -> Child:
    own = {FOLDER: str(data.root / "faults"), "BATON_CACHE_DIR": str(data.root / name), "BATON_PREDICTOR_NAME": name}
    return replace(services.predictor(port, WORKERS, {**bus.of("predictor"), **own}), name=name)
