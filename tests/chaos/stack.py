"""The stack under test: what `baton up` starts, with two promoters and without patience between restarts."""

from collections.abc import AsyncIterator
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
PORTS = ("nats", "nats_monitor", "postgres", "mlflow", "trainer", "predictor", *PROMOTERS)
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
    predictor: str

    @property
    def faults(self) -> Path:
        """The folder that arms fault points."""
        return self.data.root / "faults"


@asynccontextmanager
async def running(data_dir: Path, journal: Journal) -> AsyncIterator[Stack]:
    """Start everything on free ports in a new data directory (absolute), and stop it afterwards."""
    data = DataDir(data_dir)
    data.create()
    (data.root / "faults").mkdir()

    def hear(change: Change) -> None:
        journal.note(f"{change.part} {change.state} {change.detail}")

    async with held(data):
        ports = choose(dict.fromkeys(PORTS, 0))
        stack = _stack(data, ports, hear)
        async with stack.supervisor.running():
            yield stack


def _stack(data: DataDir, ports: dict[str, int], hear) -> Stack:
    database = database_url(data, ports["postgres"])
    nats, mlflow = f"nats://{HOST}:{ports['nats']}", f"http://{HOST}:{ports['mlflow']}"
    children = [
        replace(child, ready_within_s=READY_WITHIN_S) for child in _children(data, ports, nats, mlflow, database)
    ]
    supervisor = Supervisor(children, data, hear, IMPATIENT)
    return Stack(data, supervisor, children, nats, mlflow, database, f"http://{HOST}:{ports['predictor']}")


def _children(data: DataDir, ports: dict[str, int], nats: str, mlflow: str, database: str) -> list[Child]:
    bus = {"BATON_NATS_URL": nats, FOLDER: str(data.root / "faults")}
    registry = {**bus, "MLFLOW_TRACKING_URI": mlflow}
    trainer = {
        **registry,
        "BATON_TRAINER_DIR": str(data.root / "trainer"),
        "BATON_MAX_ATTEMPTS": "10",
        "BATON_CONCURRENCY": "2",
    }
    ledger = {**registry, "BATON_DATABASE_URL": database}
    cache = {**bus, "BATON_CACHE_DIR": str(data.root / "predictor"), "BATON_PREDICTOR_NAME": "predictor"}
    return [
        postgres_child(data, ports["postgres"]),
        nats_child(data, ports["nats"], ports["nats_monitor"]),
        mlflow_child(data, ports["mlflow"], database),
        services.predictor(ports["predictor"], WORKERS, cache),
        services.service("trainer", ports["trainer"], trainer, after=("nats",)),
        *(
            replace(services.service("promoter", ports[name], ledger, after=("nats", "postgres")), name=name)
            for name in PROMOTERS
        ),
    ]
