"""The reason to move: processes that log and transition at once, on PostgreSQL and on a FileStore, side by side.

    python -m benchmarks.concurrency [--processes 8] [--operations 1000]

Each process uses MLflow's own client: nine of ten operations log a metric of one shared run, one moves a version to
Production.
What failed is tried again and counted; what was reported as written and is not there is lost.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from shared.settings import sqlalchemy_url
from tests.integration.filestores import fresh, template
from tests.servers import postgres_server

MODEL, EVERY, ATTEMPTS = "shared", 10, 50


def work(uri: str, run: str, number: int, operations: int) -> Counter[str]:
    """Carry out one process's operations; return how many were done, retried and given up, by kind."""
    warnings.simplefilter("ignore")
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    client, counts = MlflowClient(uri, uri), Counter[str]()

    def transition() -> None:
        client.transition_model_version_stage(MODEL, str(1 + number % 2), "Production", archive_existing_versions=True)

    def log(step: int) -> None:
        client.log_metric(run, f"of {number}", float(step), step=step)

    for step in range(operations):
        if step % EVERY == 0:
            attempt(transition, "transitions", counts)
        else:
            attempt(lambda step=step: log(step), "metrics", counts)  # type: ignore[misc]
    return counts


def attempt(operation: Callable[[], None], kind: str, counts: Counter[str]) -> None:
    """Carry an operation out, trying again what fails."""
    for _ in range(ATTEMPTS):
        try:
            operation()
        except (MlflowException, OSError, TypeError, AttributeError, KeyError) as error:
            counts[f"{kind} retried{' after a deadlock' if 'deadlock' in str(error) else ''}"] += 1
            time.sleep(0.01)
        else:
            counts[f"{kind} done"] += 1
            return
    counts[f"{kind} given up"] += 1


def measure(uri: str, processes: int, operations: int) -> dict[str, object]:
    """Let processes loose on a store and count what is there afterwards."""
    client = MlflowClient(uri, uri)
    run = client.create_run(client.create_experiment("shared")).info
    client.create_registered_model(MODEL)
    for _ in range(2):
        client.create_model_version(MODEL, f"{run.artifact_uri}/model", run.run_id)
    began = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        counts = sum(
            pool.starmap(work, [(uri, run.run_id, number, operations) for number in range(processes)]), Counter[str]()
        )
    seconds = time.monotonic() - began
    return {**counts, **remaining(uri, run.run_id, processes, counts), "seconds": round(seconds, 1)}


def remaining(uri: str, run: str, processes: int, counts: Counter[str]) -> dict[str, object]:
    """Return what was lost, and the stages that the versions ended in, or the error that reading ends with."""
    client = MlflowClient(uri, uri)
    try:
        kept = sum(len({m.step for m in client.get_metric_history(run, f"of {n}")}) for n in range(processes))
        stages = sorted(str(v.current_stage) for v in client.search_model_versions(f"name = '{MODEL}'"))
    except (MlflowException, OSError, TypeError, AttributeError, KeyError) as error:
        return {"broken": f"{type(error).__name__}: {str(error)[:100]}"}
    return {"metrics lost": counts["metrics done"] - kept, "stages at the end": ", ".join(stages)}


def main() -> None:
    """Measure both stores and print both."""
    warnings.simplefilter("ignore")
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--operations", type=int, default=1_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as name, postgres_server(Path(name)) as server:
        folder = Path(name)
        with fresh(server, template(server, folder / "nothing"), folder / "artifacts") as database:
            figures = {"PostgreSQL": measure(sqlalchemy_url(database.url), chosen.processes, chosen.operations)}
        figures["FileStore"] = measure((folder / "mlruns").as_uri(), chosen.processes, chosen.operations)
    print(f"{chosen.processes} processes, {chosen.operations:,} operations each")
    for label in sorted({label for found in figures.values() for label in found}):
        print(f"{label:<36} {figures['PostgreSQL'].get(label, 0)!s:>30} {figures['FileStore'].get(label, 0)!s:>30}")


if __name__ == "__main__":
    main()
    sys.stdout.flush()
