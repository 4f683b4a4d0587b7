"""From the commit to the last of a thousand predictors: real PostgreSQL, MLflow, capture, relay and NATS.

    ./task bench -- fleet [--predictors 1000] [--processes 4] [--promotions 20]

The predictors are simulated, some hundreds in a process (`benchmarks/fleet/simulated.py`), and all of it shares this
machine's cores: a fleet with cores of its own is faster. Each predictor says how long after the commit it served, by
this machine's clock. Writes the part `fleet` of `benchmarks/results/<date>.json` and the same as Markdown.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import Report, Row, machine, write
from shared.bus import NatsBus
from shared.events import ModelServing
from shared.settings import BusSettings
from shared.streams import declare_when_reachable
from tests import bundles
from tests.integration.kit import Versions, listening_to, new_model, promoter
from tests.servers import mlflow_server, nats_server, postgres_server

SHARES = (0.25, 0.75)  # what the two versions answer
REPORTED_S = 120.0
PAUSE_S = 0.5


@dataclass(frozen=True)
class Chosen:
    """How many predictors in how many processes, and how many promotions are measured."""

    predictors: int
    processes: int
    promotions: int


def shares(whole: int, parts: int) -> list[range]:
    """Share numbers from 0 on out as evenly as can be."""
    return [range(whole * part // parts, whole * (part + 1) // parts) for part in range(parts)]


@contextmanager
def fleet(nats_url: str, folder: Path, chosen: Chosen) -> Iterator[float]:
    """Run the predictors; yield how many seconds they took until all had caught up."""
    began = time.monotonic()
    with ExitStack() as stack:
        processes = [
            stack.enter_context(_simulated(nats_url, folder / f"host-{numbers.start}", numbers))
            for numbers in shares(chosen.predictors, chosen.processes)
        ]
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                raise SystemExit("a process of simulated predictors ended: see above")
        yield time.monotonic() - began


@contextmanager
def _simulated(nats_url: str, folder: Path, numbers: range) -> Iterator["subprocess.Popen[bytes]"]:
    task = {"nats_url": nats_url, "folder": str(folder), "first": numbers.start, "count": len(numbers)}
    command = [sys.executable, "-m", "benchmarks.fleet.simulated", json.dumps(task)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.terminate()


async def promote(bus: NatsBus, versions: Versions, version: str, predictors: int) -> list[float]:
    """Move the alias; return, for each predictor, the milliseconds from the commit until it served the version."""
    found: dict[str, float] = {}
    async with listening_to(bus, versions.model, ModelServing) as ear:
        await asyncio.to_thread(versions.client.set_registered_model_alias, versions.model, "champion", version)
        try:
            async with asyncio.timeout(REPORTED_S):
                while len(found) < predictors:
                    event: Any = await ear.next()
                    if event.version == version:
                        found[event.predictor] = event.delay_ms
        except TimeoutError:
            raise SystemExit(f"{len(found)} of {predictors} predictors served it within {REPORTED_S:g} s") from None
    return list(found.values())


async def measure(nats_url: str, database: str, tracking: str, folder: Path, chosen: Chosen) -> Row:
    """Promote two versions by turns, each once before it counts; return the line of results."""
    async with NatsBus(BusSettings(nats_url=nats_url), "benchmark") as bus:
        await declare_when_reachable(bus.js, 1)
        with ExitStack() as stack:
            start_s = await asyncio.to_thread(stack.enter_context, fleet(nats_url, folder, chosen))
            async with promoter(database, tracking, nats_url):
                versions = await asyncio.to_thread(Versions, tracking, new_model())
                known = [await _registered(bus, versions, folder, share) for share in SHARES]
                delays = []
                for number in range(-len(known), chosen.promotions):
                    delays.append(await promote(bus, versions, known[number % 2], chosen.predictors))
                    await asyncio.sleep(PAUSE_S)
    return row(chosen, delays[len(known) :], start_s)


async def _registered(bus: NatsBus, versions: Versions, folder: Path, share: float) -> str:
    ref = await bus.put_bundle(*bundles.classifier(folder, share))
    return await asyncio.to_thread(versions.plain, ref)


def row(chosen: Chosen, delays_ms: Sequence[Sequence[float]], start_s: float) -> Row:
    """Return a line of results from delays of shape (promotions, predictors)."""
    delays = np.asarray(delays_ms)
    first, last = delays.min(axis=1), delays.max(axis=1)
    return {
        "predictors": chosen.predictors,
        "processes": chosen.processes,
        "promotions": len(delays),
        "first_p50_ms": round(float(np.median(first)), 1),
        "p50_ms": round(float(np.median(delays)), 1),
        "p99_ms": round(float(np.percentile(delays, 99)), 1),
        "last_p50_ms": round(float(np.median(last)), 1),
        "last_max_ms": round(float(last.max()), 1),
        "start_s": round(start_s, 1),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--predictors", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--promotions", type=int, default=20)
    chosen = Chosen(**vars(parser.parse_args()))
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as name:
        folder = Path(name)
        with (
            nats_server(folder) as nats,
            postgres_server(folder) as database,
            mlflow_server(folder, database) as tracking,
        ):
            found = asyncio.run(measure(nats, database, tracking, folder, chosen))
    print(json.dumps(found))
    write(Report(machine=machine(), fleet=[found]))


if __name__ == "__main__":
    main()
