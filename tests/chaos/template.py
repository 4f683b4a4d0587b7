"""A database that MLflow has migrated, made once and copied for each run: the migration takes longer than all else."""

import shutil
import subprocess
from pathlib import Path

from compose.local.datadir import DataDir
from compose.local.lock import held
from compose.local.mlflow import mlflow_child
from compose.local.ports import choose
from compose.local.postgres import database_url, postgres_child
from compose.local.supervisor import Supervisor

KEPT = ("postgres", "secrets")


async def make_template(folder: Path) -> None:
    """Start PostgreSQL and MLflow in a directory (absolute), and stop them when MLflow answers."""
    data = DataDir(folder)
    data.create()
    async with held(data):
        ports = choose({"postgres": 0, "mlflow": 0})
        database = database_url(data, ports["postgres"])
        children = [postgres_child(data, ports["postgres"]), mlflow_child(data, ports["mlflow"], database)]
        async with Supervisor(children, data, lambda _: None).running():
            pass


def copy_template(folder: Path, destination: Path) -> None:
    """Copy what a stack is to begin with into its directory; owners stay, for PostgreSQL insists on its own."""
    destination.mkdir(parents=True)
    cp = shutil.which("cp") or "cp"
    subprocess.run([cp, "-a", *(str(folder / name) for name in KEPT), str(destination)], check=True)
