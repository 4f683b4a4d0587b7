"""The load generator, a process of its own: connections that ask without pause and check each answer.

    python -m benchmarks.serving.load '{"system": "baton", "model": "m", "port": 8000, "questions": "q.json", ...}'

Every answer has to be 200 and right, to 1e-4; all others count as errors. Prints one JSON object.
"""

import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import numpy as np
import uvloop

from benchmarks.serving.dialects import DIALECTS, Dialect

CLOSE = 1e-4
END_OF_HEAD = b"\r\n\r\n"
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


@dataclass
class Outcome:
    """Latencies in seconds, and what was wrong with answers."""

    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """Asks, waits for the answer, checks it, asks the next."""

    def __init__(self, task: Task, questions: list[Question], outcome: Outcome) -> None:
        self._dialect: Dialect = DIALECTS[task.system]
        self._questions = cycle(questions)
        self._outcome = outcome
        self._starts = time.perf_counter() + task.warm_up
        self._ends = self._starts + task.seconds
        self._buffer = bytearray()
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the first question."""
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Collect an answer."""
        self._buffer += data
        head_ends = self._buffer.find(END_OF_HEAD)
        if head_ends < 0:
            return
        head = bytes(self._buffer[:head_ends]).lower()
        begins = head_ends + len(END_OF_HEAD)
        ends = begins + int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(self._buffer) >= ends:
            body = bytes(self._buffer[begins:ends])
            del self._buffer[:ends]
            self._answered(head, body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a connection that ended by itself."""
        if not self.done.done():
            self._outcome.errors.append(f"connection lost: {exc!r}")
            self.done.set_result(None)

    def _ask(self) -> None:
        request, self._expected = next(self._questions)
        self._asked = time.perf_counter()
        self._transport.write(request)  # type: ignore[attr-defined]

    def _answered(self, head: bytes, body: bytes) -> None:
        now = time.perf_counter()
        if fault := self._fault(head, body):
            self._outcome.errors.append(fault)
        elif self._starts <= self._asked and now <= self._ends:
            self._outcome.latencies.append(now - self._asked)
        if now < self._ends:
            self._ask()
        else:
            self.done.set_result(None)
            self._transport.close()

    def _fault(self, head: bytes, body: bytes) -> str | None:
        if not head.startswith(b"http/1.1 200"):
            return f"{head[:40]!r} {body[:200]!r}"
        answer = self._dialect.answer(body)
        if len(answer) != len(self._expected):
            return f"{len(answer)} answers to {len(self._expected)} rows"
        off = max(abs(got - right) for got, right in zip(answer, self._expected, strict=True))
        return None if off < CLOSE else f"off by {off}"


def questions_of(task: Task) -> list[Question]:
    """Return what to ask, with the right answers."""
    known = json.loads(Path(task.questions).read_text())
    slices = [slice(start, start + task.rows) for start in range(SINGLE_ROWS if task.rows == 1 else 1)]
    dialect = DIALECTS[task.system]
    return [(dialect.request(known["rows"][rows], task.model), known["answers"][rows]) for rows in slices]


async def run(task: Task, questions: list[Question]) -> dict[str, object]:
    """Ask as long as the task says; return the figures."""
    outcome, loop = Outcome(), asyncio.get_running_loop()
    connections = [
        await loop.create_connection(lambda: Connection(task, questions, outcome), "127.0.0.1", task.port)
        for _ in range(task.connections)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in connections))
    if not outcome.latencies:
        outcome.errors.append(f"no right answer within {task.seconds:g} s")
    p50, p99 = np.percentile(outcome.latencies or [0], [50, 99]) * 1e3
    return {
        "rps": len(outcome.latencies) / task.seconds,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "errors": len(outcome.errors),
        "first_error": outcome.errors[0] if outcome.errors else "",
    }


def main() -> None:
    """Carry out the task in the first argument."""
    task = Task(**json.loads(sys.argv[1]))
    os.sched_setaffinity(0, {task.core})
    sys.stdout.write(json.dumps(uvloop.run(run(task, questions_of(task)))))


if __name__ == "__main__":
    main()
