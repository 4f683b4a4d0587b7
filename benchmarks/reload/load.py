"""Steady load, a process of its own: requests at fixed times, whatever becomes of those before (an open loop).

    python -m benchmarks.reload.load '{"system": "baton", "port": 8000, "model": "m", "rate": 4000, ...}'

Says `ready`, asks until its input ends, then writes an array of shape (requests, 2) to `into`: when each was due, by
`time.monotonic`, and how many seconds its answer took from then on; and prints one JSON object.

An answer is wrong if it is not what the version that it names answers.
"""

import asyncio
import gc
import json
import os
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import uvloop

from benchmarks.serving.dialects import DIALECTS

CLOSE = 1e-4
VERSION = {"baton": "version", "mlserver": "model_version"}  # how an answer names what made it
END_OF_HEAD = b"\r\n\r\n"
TICK_S = 0.001


@dataclass(frozen=True)
class Task:
    """What to ask where, how many requests per second, over how many connections, on which core."""

    system: str
    port: int
    model: str
    questions: str
    rate: float
    connections: int
    core: int
    into: str


@dataclass
class Outcome:
    """Times and latencies of the right answers, and what was wrong with the others."""

    answered: list[tuple[float, float]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)


class Load:
    """Sends what is due over connections that are free; what finds none waits, and its latency grows."""

    def __init__(self, task: Task, outcome: Outcome) -> None:
        known = json.loads(Path(task.questions).read_text())
        self.dialect = DIALECTS[task.system]
        rows = [dict(zip(known["names"], row, strict=True)) for row in known["rows"]]
        self.requests = [self.dialect.request([row], task.model) for row in rows]
        self.version = VERSION[task.system]
        self.answers: list[list[float]] = known["answers"]
        self.outcome = outcome
        self.free: deque[Connection] = deque()
        self.waiting: deque[float] = deque()
        self.inside = 0
        self.ended = False
        self._rate = task.rate
        self._sent = 0

    async def run(self, until: asyncio.Future[bytes]) -> None:
        """Ask until a future is done, and wait for the answers."""
        begins = time.monotonic()
        while not until.done():
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            due = int((now - begins) * self._rate)
            self.waiting.extend([now] * (due - self._sent))  # a late tick is this process's fault, not the server's
            self._sent = due
            self.send()
        async with asyncio.timeout(30):
            while self.inside or self.waiting:  # noqa: ASYNC110 - as coarse as the ticks
                await asyncio.sleep(TICK_S)
        self.ended = True

    def send(self) -> None:
        """Send what waits, as far as connections are free."""
        while self.waiting and self.free:
            self.free.popleft().ask(self.waiting.popleft())


class Connection(asyncio.Protocol):
    """Asks one question at a time and checks the answer."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = bytearray()
        self._asked = 0
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be free."""
        self._transport = transport
        self._load.free.append(self)

    def ask(self, due: float) -> None:
        """Ask the next question."""
        self._due = due
        self._asked += 1
        self._load.inside += 1
        requests = self._load.requests
        self._transport.write(requests[self._asked % len(requests)])  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Collect an answer; be free again."""
        self._buffer += data
        head, end, body = bytes(self._buffer).partition(END_OF_HEAD)
        if end and len(body) >= int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            self._buffer.clear()
            self._answered(time.monotonic(), head, body)
            self._load.inside -= 1
            self._load.free.append(self)
            self._load.send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a connection that ended while the load went on."""
        if not self._load.ended:
            self._load.outcome.failed.append(f"connection lost: {exc!r}")

    def _answered(self, now: float, head: bytes, body: bytes) -> None:
        outcome = self._load.outcome
        if not head.startswith(b"HTTP/1.1 200"):
            outcome.failed.append(f"{head[:40]!r} {body[:200]!r}")
            return
        answer: Any = orjson.loads(body)
        version = answer[self._load.version]
        (probability,) = self._load.dialect.read(answer)
        answers = self._load.answers[int(version) % 2]
        if abs(probability - answers[self._asked % len(answers)]) > CLOSE:
            outcome.mismatched.append(f"version {version}: {body[:200]!r}")
        outcome.versions.add(version)
        outcome.answered.append((self._due, now - self._due))


async def run(task: Task) -> Outcome:
    """Ask until standard input ends."""
    outcome, loop = Outcome(), asyncio.get_running_loop()
    load = Load(task, outcome)
    made = [
        await loop.create_connection(lambda: Connection(load), "127.0.0.1", task.port) for _ in range(task.connections)
    ]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await load.run(loop.run_in_executor(None, sys.stdin.buffer.read))
    for transport, _ in made:
        transport.close()
    return outcome


def main() -> None:
    """Carry out the task in the first argument."""
    task = Task(**json.loads(sys.argv[1]))
    os.sched_setaffinity(0, {task.core})
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # before the registry, with which it shares the core
    gc.disable()  # a collection among hundreds of thousands of figures would be taken for the server's pause
    outcome = uvloop.run(run(task))
    np.save(task.into, np.array(outcome.answered))
    wrong = {"failed": outcome.failed[:5], "mismatched": outcome.mismatched[:5]}
    counts = {"failures": len(outcome.failed), "mismatches": len(outcome.mismatched), "versions": len(outcome.versions)}
    sys.stdout.write(json.dumps(counts | wrong) + "\n")


if __name__ == "__main__":
    main()
