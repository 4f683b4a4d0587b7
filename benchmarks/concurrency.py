"""The reason to move: processes that log and transition at once, on PostgreSQL and on a FileStore, side by side.

    ./task bench -- concurrency [--processes 8] [--operations 1000]

Each process uses MLflow's own client: nine of ten operations log a metric of one shared run, one moves a version to
Production. What failed is tried again and counted; what was reported as written and is not there is lost. Writes the
part `concurrency` of `benchmarks/results/<date>.json` and the same as Markdown.
"""

import argparse
import json
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

from benchmarks.results import Report, Row, machine, write
from shared.settings import sqlalchemy_url
from tests.integration.filestores import fresh, template
from tests.servers import postgres_server

MODEL, EVERY, ATTEMPTS, PAUSE_S = "shared", 10, 50, 0.01
FAILURES = (MlflowException, OSError, TypeError, AttributeError, KeyError)  # what a torn file of a FileStore leads to


class Worker:
    """One process's client of a store; it counts what it did."""

    def __init__(self, uri: str, run: str, number: int) -> None:
        self._client, self._run, self._number = MlflowClient(uri, uri), run, number
        self.counts = Counter[str]()
        self._broken: set[str] = set()

    def work(self, operations: int) -> None:
        """Carry out so many operations."""
        for step in range(operations):
            if step % EVERY == 0:
                self._attempt(self._transition, "transitions")
            else:
                self._attempt(lambda step=step: self._log(step), "metrics")  # type: ignore[misc]

    def _transition(self) -> None:
        version = str(1 + self._number % 2)
        self._client.transition_model_version_stage(MODEL, version, "Production", archive_existing_versions=True)

    def _log(self, step: int) -> None:
        self._client.log_metric(self._run, f"of {self._number}", float(step), step=step)

    def _attempt(self, operation: Callable[[], None], kind: str) -> None:
        """Carry an operation out, trying again what fails; a store that failed to the end is then asked once."""
        for _ in range(1 if kind in self._broken else ATTEMPTS):
            try:
                operation()
            except FAILURES as error:
                self.counts["retried after a deadlock" if "deadlock" in str(error) else "retried"] += 1
                time.sleep(PAUSE_S)
            else:
                self.counts[f"{kind} done"] += 1
                self._broken.discard(kind)
                return
        self._broken.add(kind)
        self.counts[f"{kind} given up"] += 1


def work(uri: str, run: str, number: int, operations: int) -> tuple[Counter[str], float, float]:
    """Carry out one process's operations; return what it counted, and when it began and ended."""
    warnings.simplefilter("ignore")
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    worker, began = Worker(uri, run, number), time.time()
    worker.work(operations)
    return worker.counts, began, time.time()


def measure(store: str, uri: str, processes: int, operations: int) -> Row:
    """Let processes loose on a store and count what is there afterwards."""
    client = MlflowClient(uri, uri)
    run = client.create_run(client.create_experiment("shared")).info
    client.create_registered_model(MODEL)
    for _ in range(2):
        client.create_model_version(MODEL, f"{run.artifact_uri}/model", run.run_id)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        done = pool.starmap(work, [(uri, run.run_id, number, operations) for number in range(processes)])
    counts = sum((counted for counted, _, _ in done), Counter[str]())
    seconds = max(ended for _, _, ended in done) - min(began for _, began, _ in done)
    figures = {"store": store, "processes": processes, "operations": processes * operations, "seconds": round(seconds)}
    names = ("metrics done", "metrics given up", "transitions done", "transitions given up", "retried")
    figures |= {name: counts[name] for name in (*names, "retried after a deadlock")}
    return figures | remaining(uri, run.run_id, processes, counts)


def remaining(uri: str, run: str, processes: int, counts: Counter[str]) -> Row:
    """Return what was lost, and the stages that the versions ended in, or the error that reading ends with."""
    client = MlflowClient(uri, uri)
    try:
        kept = sum(len({m.step for m in client.get_metric_history(run, f"of {n}")}) for n in range(processes))
    except FAILURES:
        kept = 0
    try:
        stages = ", ".join(sorted(str(v.current_stage) for v in client.search_model_versions(f"name = '{MODEL}'")))
    except FAILURES as error:
        stages = f"broken: {type(error).__name__}"
    return {"metrics lost": counts["metrics done"] - kept, "stages at the end": stages}


def main() -> None:
    """Measure both stores, print and write both."""
    warnings.simplefilter("ignore")
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--operations", type=int, default=1_000, help="of each process")
    chosen, report = parser.parse_args(), Report(machine=machine())

    def measured(store: str, uri: str) -> None:
        report.concurrency.append(measure(store, uri, chosen.processes, chosen.operations))
        print(json.dumps(report.concurrency[-1]), flush=True)

    with tempfile.TemporaryDirectory(prefix="baton-bench-") as name, postgres_server(Path(name)) as server:
        folder = Path(name)
        with fresh(server, template(server, folder / "nothing"), folder / "artifacts") as database:
            measured("PostgreSQL", sqlalchemy_url(database.url))
        measured("FileStore", (folder / "mlruns").as_uri())
    write(report)
    postgresql = report.concurrency[0]
    if any(postgresql[name] for name in ("metrics lost", "metrics given up", "transitions given up")):
        sys.exit("PostgreSQL lost operations")


if __name__ == "__main__":
    main()
