"""SIGKILL at random moments of a migration, then the same command again: the same result as if nothing had happened."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from cli.migrate.artifacts import digest
from cli.output import PARTLY
from tests.integration.filestores import BATON, Database, baton_migrate, everything, fresh, template
from tests.integration.raw_filestore import (
    dataset,
    experiment,
    logged_model,
    model,
    run,
    take,
    value,
    version,
    write_meta,
)

KILLS = int(os.environ.get("BATON_TEST_KILLS", "50"))
KILLS_PER_DATABASE = 2
# Experiments, runs, logged models, registered models with their versions and aliases, champions.
ITEMS = 3 + 210 + 60 + 3 * (1 + 2 + 1) + 3
POINTS = """
    SELECT model_id, metric_name, metric_timestamp_ms, metric_step, metric_value, run_id, dataset_name, dataset_digest
    FROM logged_model_metrics ORDER BY 1, 2, 3, 4, 6
"""
EDGES = """
    SELECT i.source_type, coalesce(d.name, i.source_id), i.destination_type, i.destination_id, i.step
    FROM inputs i LEFT JOIN datasets d ON d.dataset_uuid = i.source_id ORDER BY 1, 2, 3, 4
"""

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # MLflow's SQL store warns of itself
    pytest.mark.timeout(1800),
]


def store(root: Path) -> Path:
    """Write a store of three experiments with 210 runs, some damaged, data sets, and models in Production."""
    for number in range(1, 4):
        folder = experiment(root, str(number), f"experiment {number}")
        runs = [run(folder, f"{number}{index:031x}") for index in range(70)]
        value(runs[3], "metrics/half", "1 0.5 0\n2 0.")
        value(runs[4], "params/long", "x" * 9000)
        value(runs[5], "artifacts/model/large.bin", b"x" * 3_000_000)
        dataset(folder, "rows", *runs)
        for index in range(20):
            own = runs[index].name
            made = logged_model(folder, f"m-{number}-{index}", own, f"1 0.5 0 {own} rows rows-digest\n2 0.25 1 {own}\n")
            value(made, "artifacts/MLmodel", f"model {index}")
            value(made, "params/depth", str(index))
            take(runs[index + 20], "MODEL", made.name, {})
            write_meta(runs[index] / "outputs" / made.name, {"step": index})
        registered = model(root, f"model {number}", previous=1)
        for index in (1, 2):
            version(registered, index, runs[index], current_stage="Production")
    return root


def result(database: Database) -> dict[str, Any]:
    """Return what MLflow's client says, how many rows there are, and the digest of every artifact."""
    tables = ("metrics", "latest_metrics", "params", "tags", "inputs", "input_tags", "datasets", "logged_models")
    more = ("logged_model_metrics", "logged_model_params", "logged_model_tags")
    files = [path for path in database.artifacts.rglob("*") if path.is_file()]
    return {
        "everything": everything(database.client),
        "rows": {table: database.query(f"SELECT count(*) FROM {table}") for table in (*tables, *more)},
        "points": database.query(POINTS),
        "edges": database.query(EDGES),
        "digests": database.query("SELECT kind, key, digest FROM baton_migrate.items ORDER BY 1, 2"),
        "findings": database.query("SELECT path, reason FROM baton_migrate.findings ORDER BY 1, 2"),
        "files": sorted(
            (*path.relative_to(database.artifacts).parts[1:], digest(path))
            for path in files
            if not path.name.endswith(".baton-partial")
        ),
    }


def progress(database: Database) -> int:
    """Return how many runs, models and champions are migrated."""
    if not database.query("SELECT 1 FROM pg_tables WHERE (schemaname, tablename) = ('baton_migrate', 'items')"):
        return 0
    return int(database.query("SELECT count(*) FROM baton_migrate.items")[0][0])


def kill(source: Path, database: Database, chance: random.Random) -> int | None:
    """Start a migration and kill it, alone or with its children, somewhere after it got so far.

    Return how many items were done then, None if it ended before.
    """
    command = [BATON, "migrate", str(source), "--to", database.url, "--no-backup", "--verify", "off"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wanted, pause = chance.randint(progress(database), ITEMS), chance.uniform(0.0, 0.3)
    while process.poll() is None and progress(database) < wanted:
        time.sleep(0.005)
    try:
        process.wait(pause)
    except subprocess.TimeoutExpired:
        done = progress(database)
        os.killpg(process.pid, signal.SIGKILL) if chance.random() < 0.5 else process.kill()
        process.wait(10)
        return done
    return None


def test_killed_anywhere_and_run_again_it_ends_the_same(tmp_path: Path, database_url: str) -> None:
    source, base = store(tmp_path / "mlruns"), template(database_url, tmp_path / "nothing")
    with fresh(database_url, base, tmp_path / "whole") as database:
        assert baton_migrate(source, database).returncode == PARTLY
        wanted = result(database)
        assert progress(database) == ITEMS
    killed: list[int] = []
    chance, attempt = random.Random(7), 0
    while len(killed) < KILLS:
        attempt += 1
        assert attempt < 3 * KILLS, f"only {len(killed)} migrations were still running when they were to be killed"
        with fresh(database_url, base, tmp_path / f"attempt {attempt}") as database:
            for _ in range(KILLS_PER_DATABASE):
                done = kill(source, database, chance)
                killed += [] if done is None else [done]
            again = baton_migrate(source, database)
            assert again.returncode == PARTLY, (killed, again.stderr)
            assert result(database) == wanted, killed
    inside = sum(0 < done < ITEMS for done in killed)
    print(f"{len(killed)} kills, {inside} of them between the first item and the last; items done: {sorted(killed)}")
    assert inside >= KILLS // 4
