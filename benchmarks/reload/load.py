"""Steady load, a process of its own: requests when they are due, whatever becomes of those before (an open loop).

    python -m benchmarks.reload.load '{"system": "baton", "port": 8000, "model": "m", "rate": 4000, ...}'

Says `ready`, asks until its input ends, then writes an array of shape (requests, 2) to `into`: when each was
found to be due, by `time.monotonic`, and how many seconds its answer took from then on; and prints one JSON object.

It looks at no answer before the load has ended. An answer is wrong if it is not what the version that it names answers.
"""

import gc
import json
import os
import select
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson

from benchmarks.connection import Answered, Connection, Outcome
from benchmarks.reload.arrivals import Pace, paced
from benchmarks.serving.dialects import DIALECTS
from benchmarks.serving.load import CLOSE

VERSION = {"baton": "version", "mlserver": "model_version"}  # how an answer names what made it
BACKLOG_S = 30.0

T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """What to ask where, how many rows in a request, how many requests a second, over how many connections, from where.

    `arrivals` is one of `ARRIVALS`, `core` what it runs on, `into` the file for what was answered.
    """

    system: str
    port: int
    model: str
    questions: str
    rows: int
    rate: float
    arrivals: str
    connections: int
    core: int
    into: str


@dataclass
class Found:
    """Due times and latencies of the right answers, in seconds, and what was wrong with the others."""

    answered: list[tuple[float, float]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)


class Load:
    """Sends what is due over connections that are free; what finds none waits, and its latency grows."""

    def __init__(self, connections: list[Connection]) -> None:
        self._connections = {connection.socket.fileno(): connection for connection in connections}
        self._free = deque(connections)
        self._waiting: deque[float] = deque()

    def run(self, pace: Pace, until: int) -> int:
        """Ask until there is something to read from `until`; return how many were left without an answer."""
        while until not in self._exchange(pace.wait(time.monotonic()), until):
            now = time.monotonic()
            self._waiting.extend([now] * pace.due(now))  # to notice late is this process's fault, not the server's
            self._send()
        ends = time.monotonic() + BACKLOG_S
        while (left := self._left()) and self._connections and time.monotonic() < ends:
            self._exchange(0.1)
            self._send()
        return left

    def _left(self) -> int:
        return len(self._waiting) + len(self._connections) - len(self._free)

    def _exchange(self, seconds: float, *others: int) -> list[int]:
        """Collect answers for so long at most, to a fraction of a millisecond, which epoll would round up."""
        ready, _, _ = select.select([*self._connections, *others], [], [], seconds)
        for number in ready:
            connection = self._connections.get(number)
            if connection and connection.read():
                self._free.append(connection)
                if connection.lost:
                    self._free = deque(each for each in self._free if not each.lost)
                    del self._connections[number]
        return ready

    def _send(self) -> None:
        while self._waiting and self._free:
            self._free.popleft().ask(self._waiting.popleft())


def check(task: Task, outcome: Outcome, answers: list[list[float]]) -> Found:
    """Compare every answer with what the version that it names answers; versions with even numbers come first."""
    right = [pieces(each, task.rows) for each in answers]
    found = Found(failed=list(outcome.lost))
    for each in outcome.answers:
        if not each.head.lower().startswith(b"http/1.1 200"):
            found.failed.append(f"{each.head[:40]!r} {each.body[:200]!r}")
            continue
        version, probabilities = named(task.system, each)
        found.versions.add(version)
        if not np.allclose(probabilities, right[int(version) % 2][each.question], rtol=0, atol=CLOSE):
            found.mismatched.append(f"version {version}: {each.body[:200]!r}")
        found.answered.append((each.asked, each.answered - each.asked))
    return found


def named(system: str, each: Answered) -> tuple[str, list[float]]:
    """Return the version that an answer names, and its probabilities of class 1."""
    answer: Any = orjson.loads(each.body)
    return answer[VERSION[system]], DIALECTS[system].read(answer)


def pieces(values: list[T], count: int) -> list[list[T]]:
    """Return values in the same order, so many at a time."""
    return [values[at : at + count] for at in range(0, len(values), count)]


def run(task: Task, until: int) -> Found:
    """Ask until there is something to read from `until`, then check what came."""
    known, outcome = json.loads(Path(task.questions).read_text()), Outcome()
    rows = [dict(zip(known["names"], row, strict=True)) for row in known["rows"]]
    requests = [DIALECTS[task.system].request(each, task.model) for each in pieces(rows, task.rows)]
    numbers = count()
    connections = [Connection(task.port, requests, outcome, numbers) for _ in range(task.connections)]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    with punctual():
        left = Load(connections).run(paced(task.arrivals, task.rate, time.monotonic()), until)
    for connection in connections:
        connection.socket.close()
    found = check(task, outcome, known["answers"])
    found.failed += [f"not answered within {BACKLOG_S:g} s"] * left
    return found


@contextmanager
def punctual() -> Iterator[None]:
    """Run before the registry, which shares the core, whenever a request is due; there is time left between them.

    Otherwise requests would be late by as long as PostgreSQL works. Only where it may be so.
    """
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def main() -> None:
    """Carry out the task in the first argument."""
    task = Task(**json.loads(sys.argv[1]))
    os.sched_setaffinity(0, {task.core})
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    gc.disable()  # a collection among hundreds of thousands of figures would be taken for the server's pause
    found = run(task, sys.stdin.fileno())
    np.save(task.into, np.array(found.answered))
    wrong = {"failed": found.failed[:5], "mismatched": found.mismatched[:5]}
    counts = {"failures": len(found.failed), "mismatches": len(found.mismatched), "versions": len(found.versions)}
    sys.stdout.write(json.dumps(counts | wrong) + "\n")


if __name__ == "__main__":
    main()
