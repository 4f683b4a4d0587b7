"""What promotions do to requests: steady load at a share of the capacity, with promotions and without, by turns.

    ./task bench -- reload [--promotions 100] [--share 0.7] [--models forest ...] [--systems baton mlserver]
        [--sync always]

The capacity is the rate at which the server's core would be busy all the time. A promotion moves the alias in MLflow on
PostgreSQL; capture, relay, NATS and the predictor (two workers on one core) are real. A request has so many rows that
the load generator's core, which registry and bus share, has room for these. `again` promotes two versions by turns,
`fresh` some that no predictor has seen until they are prefetched. MLServer is told to load each version; it has a fifth
of the promotions, for each takes long.
Writes the part `reload` of `benchmarks/results/<date>.json` and the same as Markdown.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

from benchmarks.reload.mlserver import PROGRAM, Loads, mlserver
from benchmarks.reload.stack import LOAD_CORE, Promotions, Servers, promotions, servers, tree
from benchmarks.reload.versions import Two, make
from benchmarks.results import Report, Row, machine, write
from compose.local.settings import ALWAYS

CONNECTIONS = 8
BLOCK = 10  # promotions in a row; as long without one
PAUSE_S = 0.25
PEER = 0.2  # of the promotions
ROWS = {"logistic-regression": 8, "forest": 1}  # of a request: the load is to leave room on its core
FRESH = {"logistic-regression": 1.0, "forest": 0.1}  # of the promotions: each is a bundle of its own on the bus


@dataclass
class Blocks:
    """When promotions went on and when none did, by `time.monotonic`, and how long the workers took, in ms."""

    promoting: list[tuple[float, float]] = field(default_factory=list)
    quiet: list[tuple[float, float]] = field(default_factory=list)
    delays_ms: list[float] = field(default_factory=list)
    promotions: int = 0


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
def loading(system: str, two: Two, port: int, rate: float) -> Iterator[Loading]:
    """Ask at a steady rate."""
    into = two.folder / "answered.npy"
    task = {
        "system": system,
        "port": port,
        "model": two.name,
        "questions": str(two.folder / "questions.json"),
        "rows": ROWS[two.name],
        "rate": rate,
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
    """Return how many requests per second are answered if nobody waits between them."""
    task = {"system": system, "model": two.name, "port": port, "questions": str(two.folder / "capacity.json")}
    task |= {"connections": CONNECTIONS, "rows": ROWS[two.name], "seconds": seconds, "warm_up": 1.0, "core": LOAD_CORE}
    command = [sys.executable, "-m", "benchmarks.serving.load", json.dumps(task)]
    return float(json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["rps"])


def capacity(system: str, two: Two, port: int, server: psutil.Process, seconds: float = 4.0) -> float:
    """Return how many requests per second keep the server's core busy, by what it needs for half as many.

    Not `most`: whoever always has the next request there already need not wait for it, and needs less for each.
    """
    rate = most(system, two, port) / 2
    with loading(system, two, port, rate) as load:
        time.sleep(seconds / 4)
        before, began = busy_s(server), time.monotonic()
        time.sleep(seconds)
        busy = (busy_s(server) - before) / (time.monotonic() - began)
        load.end()
    return rate / busy


def busy_s(server: psutil.Process) -> float:
    """Return the processor time in seconds that a server and its children have had."""
    times = [process.cpu_times() for process in tree(server)]
    return sum(each.user + each.system for each in times)


async def series(kind: str, made: Promotions | Loads, count: int) -> Blocks:
    """Promote in blocks, with as long a time without a promotion between them."""
    blocks = Blocks()
    known = [await made.register(), await made.register()] if kind == "again" else []
    for done in range(0, count, BLOCK):
        began = time.monotonic()
        for number in range(done, min(done + BLOCK, count)):
            version = known[number % 2] if known else await made.register()
            blocks.delays_ms += await made.promote(version)
            blocks.promotions += 1
            await asyncio.sleep(PAUSE_S)
        ended = time.monotonic()
        await asyncio.sleep(ended - began)
        blocks.promoting.append((began, ended))
        blocks.quiet.append((ended, time.monotonic()))
    return blocks


def row(system: str, two: Two, kind: str, blocks: Blocks, *, answered: np.ndarray, wrong: dict[str, Any]) -> Row:
    """Return a line of results."""
    during, without = (median(p99s_ms(answered, spans)) for spans in (blocks.promoting, blocks.quiet))
    return {
        "system": system,
        "model": two.name,
        "bundles": kind,
        "promotions": blocks.promotions,
        "rows": ROWS[two.name],
        "rps": round(len(answered) / (answered[-1, 0] - answered[0, 0])),
        "requests": len(answered),
        "failed": wrong["failures"],
        "mismatched": wrong["mismatches"],
        "p99_ms_without": round(without, 3),
        "p99_ms_during": round(during, 3),
        "p99_ratio": round(during / without, 2),
        "delay_p50_ms": round(float(np.percentile(blocks.delays_ms, 50)), 1),
        "delay_p99_ms": round(float(np.percentile(blocks.delays_ms, 99)), 1),
    }


def p99s_ms(answered: np.ndarray, spans: list[tuple[float, float]]) -> list[float]:
    """Return, for each span of time, the 99th percentile in ms of the requests that were due in it.

    A busy machine spoils a block, not the median of all blocks.
    """
    due, latencies = answered[:, 0], answered[:, 1]
    inside = [latencies[(due >= began) & (due < ended)] for began, ended in spans]
    return [float(np.percentile(found, 99)) * 1e3 for found in inside if len(found)]


@asynccontextmanager
async def serving(stack: Servers, two: Two) -> AsyncIterator[Promotions]:
    """Have a first version served."""
    async with promotions(stack, two) as made:
        await made.promote(await made.register())
        yield made


async def of_baton(stack: Servers, two: Two, count: int, share: float) -> list[Row]:
    """Return Baton's lines for a model."""
    port = int(stack.predictor.url.rpartition(":")[2])
    async with serving(stack, two) as made:
        return await measure("baton", two, made, port, stack.predictor.process, count=count, share_of_capacity=share)


async def of_mlserver(two: Two, count: int, share: float) -> list[Row]:
    """Return MLServer's lines for a model."""
    with mlserver(two) as (loads, server):
        await loads.register()
        count = round(count * PEER)
        return await measure("mlserver", two, loads, loads.port, server, count=count, share_of_capacity=share)


async def measure(
    system: str,
    two: Two,
    made: Promotions | Loads,
    port: int,
    server: psutil.Process,
    *,
    count: int,
    share_of_capacity: float,
) -> list[Row]:
    """Return a line for each series of a model."""
    rows = []
    rate = share_of_capacity * await asyncio.to_thread(capacity, system, two, port, server)
    for kind, share in (("again", 1.0), ("fresh", FRESH[two.name])):
        with loading(system, two, port, rate) as load:
            blocks = await series(kind, made, max(2, round(count * share)))
            answered, wrong = await asyncio.to_thread(load.end)
        rows.append(row(system, two, kind, blocks, answered=answered, wrong=wrong))
        print(json.dumps(rows[-1] | {"wrong": wrong["failed"] + wrong["mismatched"]}), flush=True)
    return rows


def installed() -> list[str]:
    """Return the systems that can be started here."""
    return ["baton", "mlserver"] if PROGRAM.exists() else ["baton"]


def main() -> None:
    """Measure, print, write; fail if a request failed or an answer was not its version's."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--promotions", type=int, default=100)
    parser.add_argument("--share", type=float, default=0.7)
    parser.add_argument("--models", nargs="+", choices=list(FRESH), default=list(FRESH))
    parser.add_argument("--systems", nargs="+", choices=["baton", "mlserver"], default=installed())
    parser.add_argument("--sync", default=ALWAYS)
    asked, report = parser.parse_args(), Report()
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as name:
        models = [make(model, Path(name) / model) for model in asked.models]
        if "baton" in asked.systems:
            with servers(Path(name), asked.sync) as stack:
                for two in models:
                    report.reload += asyncio.run(of_baton(stack, two, asked.promotions, asked.share))
        if "mlserver" in asked.systems:
            for two in models:
                report.reload += asyncio.run(of_mlserver(two, asked.promotions, asked.share))
    report.machine = machine()
    write(report)
    if any(each["failed"] or each["mismatched"] for each in report.reload if each["system"] == "baton"):
        raise SystemExit("requests failed, or answers were not of the version that they name: see above")


if __name__ == "__main__":
    main()
