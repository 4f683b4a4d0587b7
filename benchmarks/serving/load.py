"""The load generator, a process of its own: connections that ask without pause; every answer is checked afterwards.

    python -m benchmarks.serving.load '{"system": "baton", "model": "m", "port": 8000, "questions": "q.json", ...}'

Every answer has to be 200 and right, to 1e-4; all others count as errors. Prints one JSON object.

It polls without ever sleeping, and looks at no answer while it measures: what a client needs to wake up and to read an
answer would be counted as the server's, and is longer than what the fastest ones need.
"""

import gc
import json
import os
import select
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.connection import SILENCE_S, Answered, Connection, Outcome
from benchmarks.serving.dialects import DIALECTS, Dialect

CLOSE = 1e-4
SINGLE_ROWS = 64  # different questions, so that no answer can be another one's by luck

Question = tuple[bytes, list[float]]
"""The bytes of a request, and the right answer."""


@dataclass(frozen=True)
class Task:
    """What to ask, how long (seconds), over how many connections, with how many rows; `core` to run on."""

    system: str
    model: str
    port: int
    questions: str
    connections: int
    rows: int
    seconds: float
    warm_up: float
    core: int


def questions_of(task: Task) -> list[Question]:
    """Return what to ask, with the right answers."""
    known = json.loads(Path(task.questions).read_text())
    slices = [slice(start, start + task.rows) for start in range(SINGLE_ROWS if task.rows == 1 else 1)]
    dialect = DIALECTS[task.system]
    return [(dialect.request(known["rows"][rows], task.model), known["answers"][rows]) for rows in slices]


def ask(connections: list[Connection], outcome: Outcome, ends: float) -> None:
    """Ask over all connections until `ends`, by `time.monotonic`, or until one is lost."""
    by_number = {connection.socket.fileno(): connection for connection in connections}
    poll = select.epoll()
    for number, connection in by_number.items():
        poll.register(number, select.EPOLLIN)
        connection.ask()
    latest = ends + SILENCE_S
    while by_number and not outcome.lost and time.monotonic() < latest:
        for number, _ in poll.poll(0):
            if not by_number[number].read():
                continue
            if time.monotonic() < ends:
                by_number[number].ask()
            else:
                del by_number[number]
    poll.close()


def run(task: Task, questions: list[Question]) -> dict[str, object]:
    """Ask as long as the task says; return the figures."""
    outcome = Outcome()
    requests = [request for request, _ in questions]
    connections = [Connection(task.port, requests, outcome) for _ in range(task.connections)]
    starts = time.monotonic() + task.warm_up
    ask(connections, outcome, starts + task.seconds)
    for connection in connections:
        connection.socket.close()
    return figures(task, outcome, [right for _, right in questions], starts)


def figures(task: Task, outcome: Outcome, right: list[list[float]], starts: float) -> dict[str, object]:
    """Check every answer; count the right ones that were asked for and given within the time that counts."""
    faults = [fault(DIALECTS[task.system], each, right[each.question]) for each in outcome.answers]
    errors = outcome.lost + [found for found in faults if found]
    ends = starts + task.seconds
    latencies = [
        each.answered - each.asked
        for each, found in zip(outcome.answers, faults, strict=True)
        if not found and starts <= each.asked and each.answered <= ends
    ]
    if not latencies:
        errors.append(f"no right answer within {task.seconds:g} s")
    p50, p99 = np.percentile(latencies or [0], [50, 99]) * 1e3
    return {
        "rps": len(latencies) / task.seconds,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "errors": len(errors),
        "first_error": errors[0] if errors else "",
    }


def fault(dialect: Dialect, each: Answered, right: list[float]) -> str | None:
    """Say what is wrong with an answer, None if nothing is."""
    if not each.head.lower().startswith(b"http/1.1 200"):
        return f"{each.head[:40]!r} {each.body[:200]!r}"
    answer = dialect.answer(each.body)
    if len(answer) != len(right):
        return f"{len(answer)} answers to {len(right)} rows"
    off = max(abs(got - expected) for got, expected in zip(answer, right, strict=True))
    return None if off < CLOSE else f"off by {off}"


def main() -> None:
    """Carry out the task in the first argument."""
    task = Task(**json.loads(sys.argv[1]))
    os.sched_setaffinity(0, {task.core})
    gc.disable()
    sys.stdout.write(json.dumps(run(task, questions_of(task))))


if __name__ == "__main__":
    main()
