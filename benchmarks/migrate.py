"""`baton migrate` to PostgreSQL beside `mlflow migrate-filestore` to SQLite, on the same FileStore, in turn.

    ./task bench -- migrate [--runs 10000]

Starts PostgreSQL itself. Writes seconds and the most memory that a command and its children held together: the part
`migrate` of `benchmarks/results/<date>.json` and the same as Markdown.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import psutil

from benchmarks.results import Report, machine, write
from tests.integration.filestores import fresh, template
from tests.integration.raw_filestore import experiment, write_meta
from tests.servers import postgres_server

EXPERIMENTS, METRICS, STEPS, PARAMS = 5, 5, 20, 5
PROGRAMS = Path(sys.executable).parent


def build(root: Path, runs: int) -> None:
    """Write a FileStore of so many runs with 100 metric points and 5 params each."""
    for number in range(1, EXPERIMENTS + 1):
        folder = experiment(root, str(number), f"experiment {number}")
        for index in range(runs // EXPERIMENTS):
            one_run(folder, index)


def one_run(folder: Path, index: int) -> None:
    """Write one run as MLflow 2 and 3 do."""
    name = uuid.uuid4().hex
    path = folder / name
    for part in ("params", "tags", "metrics", "artifacts"):
        (path / part).mkdir(parents=True)
    meta = {
        "artifact_uri": f"file://{path}/artifacts", "end_time": 1_600_000_002_000, "entry_point_name": "",
        "experiment_id": folder.name, "lifecycle_stage": "active", "run_id": name, "run_name": f"run {index}",
        "run_uuid": name, "source_name": "", "source_type": 4, "source_version": "",
        "start_time": 1_600_000_000_000 + index, "status": 3, "tags": [], "user_id": "ann",
    }  # fmt: skip
    write_meta(path, meta)
    for number in range(PARAMS):
        (path / "params" / f"p{number}").write_text(str(index * number))
    (path / "tags" / "mlflow.runName").write_text(f"run {index}")
    for number in range(METRICS):
        lines = (f"{1_600_000_000_000 + step} {1 / (step + number + 1)} {step}\n" for step in range(STEPS))
        (path / "metrics" / f"m{number}").write_text("".join(lines))


def measured(command: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds and the most MB that it and its children held."""
    began, most = time.monotonic(), 0.0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors: list[bytes] = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read() if process.stderr else b""))
    reader.start()
    while process.poll() is None:
        most = max(most, memory(process.pid))
        time.sleep(0.2)
    reader.join()
    if process.returncode:
        sys.exit(f"{command[0]} ended with {process.returncode}: {errors[0].decode()[-2000:]}")
    return time.monotonic() - began, most


def memory(pid: int) -> float:
    """Return the resident memory of a process and its children, in MB."""
    try:
        root = psutil.Process(pid)
        return float(sum(each.memory_info().rss for each in [root, *root.children(recursive=True)])) / 1e6
    except psutil.NoSuchProcess:
        return 0.0


def compare(server: str, folder: Path) -> tuple[dict[str, tuple[float, float]], int]:
    """Run both on the store in a folder; return what each command took, and how many points were written."""
    ours, figures, base = [str(PROGRAMS / "baton"), "migrate"], {}, template(server, folder / "nothing")
    with fresh(server, base, folder / "artifacts") as database:
        words = [str(folder / "mlruns"), "--to", database.url]
        bare = [*ours, *words, "--no-backup", "--verify", "off"]
        figures["baton migrate, neither backup nor verification"] = measured(bare)
        figures["baton migrate, again: nothing to do"] = measured(bare)
        figures["baton migrate verify, a sample of histories"] = measured(
            [*ours, "verify", *words, "--verify", "sample"]
        )  # fmt: skip
    with fresh(server, base, folder / "more") as database:
        words = [str(folder / "mlruns"), "--to", database.url, "--backup-dir", str(folder)]
        figures["baton migrate, backup and verification included (the default)"] = measured([*ours, *words])
        points = database.query("SELECT count(*) FROM metrics")[0][0]
    theirs = [str(PROGRAMS / "mlflow"), "migrate-filestore", "--no-progress", "--source", str(folder)]
    figures["mlflow migrate-filestore (SQLite)"] = measured([*theirs, "--target", f"sqlite:///{folder}/mlflow.db"])
    return figures, points


def main() -> None:
    """Build the store, run both, print and write both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10_000)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as name, postgres_server(Path(name)) as server:
        build(Path(name) / "mlruns", runs)
        figures, points = compare(server, Path(name))
    report = Report(machine=machine())
    for label, (seconds, megabytes) in figures.items():
        row = {"command": label, "runs": runs, "metric_points": points, "seconds": round(seconds, 1)}
        report.migrate.append(row | {"most_mb": round(megabytes)})
        print(json.dumps(report.migrate[-1]))
    write(report)


if __name__ == "__main__":
    main()
