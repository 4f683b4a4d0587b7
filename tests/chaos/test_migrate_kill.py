"""SIGKILL at random moments of a migration, then the same command again: the same result as if nothing had happened."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.filestores import BATON, Database, baton_migrate, everything, fresh, template
from tests.integration.raw_filestore import experiment, model, run, value, version

KILLS = int(os.environ.get("BATON_TEST_KILLS", "50"))
KILLS_PER_DATABASE = 2

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # MLflow's SQL store warns of itself
    pytest.mark.timeout(1800),
]


def store(root: Path) -> Path:
    """Write a store of three experiments with 210 runs, some damaged, and models with versions in Production."""
    for number in range(1, 4):
        folder = experiment(root, str(number), f"experiment {number}")
        runs = [run(folder, f"{number}{index:031x}") for index in range(70)]
        value(runs[3], "metrics/half", "1 0.5 0\n2 0.")
        value(runs[4], "params/long", "x" * 9000)
        value(runs[5], "artifacts/model/large.bin", b"x" * 3_000_000)
        registered = model(root, f"model {number}", previous=1)
        for index in (1, 2):
            version(registered, index, runs[index], current_stage="Production")
    return root


def result(database: Database) -> dict[str, Any]:
    """Return what MLflow's client says, how many rows there are, and every artifact with its size."""
    tables = ("metrics", "latest_metrics", "params", "tags", "inputs", "input_tags", "datasets", "logged_model_metrics")
    files = [path for path in database.artifacts.rglob("*") if path.is_file()]
    return {
        "everything": everything(database.client),
        "rows": {table: database.query(f"SELECT count(*) FROM {table}") for table in tables},
        "findings": database.query("SELECT path, reason FROM baton_migrate.findings ORDER BY 1, 2"),
        "files": sorted(
            (*path.relative_to(database.artifacts).parts[1:], path.stat().st_size)
            for path in files
            if not path.name.endswith(".baton-partial")
        ),
    }


def kill_at(moment: float, source: Path, database: Database, *, group: bool) -> bool:
    """Start a migration and kill it after so many seconds, alone or with its children; tell whether it still ran."""
    command = [BATON, "migrate", str(source), "--to", database.url, "--no-backup", "--verify", "off"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL) if group else process.kill()
        process.wait(10)
        return True
    return False


def test_killed_anywhere_and_run_again_it_ends_the_same(tmp_path: Path, database_url: str) -> None:
    source = store(tmp_path / "mlruns")
    base = template(database_url, tmp_path / "nothing")
    with fresh(database_url, base, tmp_path / "whole") as database:
        began = time.monotonic()
        assert baton_migrate(source, database).returncode == 5
        duration = time.monotonic() - began
        wanted = result(database)
    random_moments, killed, chance = [], 0, random.Random(7)
    for round_number in range(-(-KILLS // KILLS_PER_DATABASE)):
        with fresh(database_url, base, tmp_path / f"round {round_number}") as database:
            for _ in range(KILLS_PER_DATABASE):
                moment = chance.uniform(0.3, 0.9) * duration
                random_moments.append(round(moment, 2))
                killed += kill_at(moment, source, database, group=chance.random() < 0.5)
            began = time.monotonic()
            done = baton_migrate(source, database)
            duration = min(duration, time.monotonic() - began)  # the machine may have become quieter
            assert done.returncode == 5, (random_moments, done.stderr)
            assert result(database) == wanted, random_moments
    print(f"{killed} kills of {KILLS} while it ran ({duration:.1f} s uninterrupted)")
    assert killed >= KILLS // 2
