"""The load on a server: a generator of its own process, and how much a server can take."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.cores import LOAD_CORE
from benchmarks.reload.stack import tree
from benchmarks.reload.versions import Two

CONNECTIONS = 8
ROWS = {"logistic-regression": 8, "forest": 1}  # of a request: the load is to leave room on its core


class Loading:
    """A running load generator; what it found is there once it has ended."""

    def __init__(self, process: "subprocess.Popen[bytes]", into: Path) -> None:
        self._process = process
        self._into = into

    def end(self) -> tuple[np.ndarray, dict[str, Any]]:
        """End the load; return times and latencies of shape (requests, 2), and what went wrong."""
        output, _ = self._process.communicate()
        return np.load(self._into), json.loads(output)


@contextmanager
def loading(system: str, two: Two, port: int, rate: float, arrivals: str) -> Iterator[Loading]:
    """Ask at a steady rate."""
    into = two.folder / "answered.npy"
    task = {
        "system": system,
        "port": port,
        "model": two.name,
        "questions": str(two.folder / "questions.json"),
        "rows": ROWS[two.name],
        "rate": rate,
        "arrivals": arrivals,
    }
    task |= {"connections": CONNECTIONS, "core": LOAD_CORE, "into": str(into)}
    command = [sys.executable, "-m", "benchmarks.reload.load", json.dumps(task)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield Loading(process, into)
        finally:
            process.terminate()


def most(system: str, two: Two, port: int, seconds: float = 3.0) -> float:
    """Return how many requests per second are answered if nobody waits between them, of a few different ones."""
    task = {"system": system, "model": two.name, "port": port, "questions": str(two.folder / "capacity.json")}
    task |= {"connections": CONNECTIONS, "rows": ROWS[two.name], "seconds": seconds, "warm_up": 1.0, "core": LOAD_CORE}
    command = [sys.executable, "-m", "benchmarks.serving.load", json.dumps(task)]
    return float(json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["rps"])


def flooded(system: str, two: Two, port: int, seconds: float) -> float:
    """Return how many requests per second are answered of more than can be, all of them different.

    Of the same few again and again, which come from the processor's caches, more are.
    """
    with loading(system, two, port, most(system, two, port), "random") as load:
        time.sleep(seconds)
        answered, _ = load.end()
    due = answered[:, 0]
    return len(due) / float((answered.sum(axis=1)).max() - due.min())


def capacity(system: str, two: Two, port: int, server: psutil.Process, seconds: float = 4.0) -> float:
    """Return the lesser of how many requests per second are answered where others always wait, and how many keep busy.

    The latter by what the server needs for half as many: where the next request is always there already, the server
    need not wait for it, and needs less for each. The former where the load, which takes the processor's caches, too,
    makes each request cost more.
    """
    answered = flooded(system, two, port, seconds)
    with loading(system, two, port, answered / 2, "random") as load:
        time.sleep(seconds / 4)
        before, began = busy_s(server), time.monotonic()
        time.sleep(seconds)
        busy = (busy_s(server) - before) / (time.monotonic() - began)
        load.end()
    return min(answered, answered / 2 / busy)


def busy_s(server: psutil.Process) -> float:
    """Return the processor time in seconds that a server and its children have had."""
    times = [process.cpu_times() for process in tree(server)]
    return sum(each.user + each.system for each in times)
