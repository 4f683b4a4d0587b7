"""Hundreds of models in one worker, against one: memory, seconds from the start to ready, latency.

    ./task bench -- many [--models 300] [--seconds 3]

`cold` fetches every bundle from the bus, `warm` finds them in its disk cache, `lazy` knows all models and loads the one
that is asked for. Writes the part `many` of `benchmarks/results/<date>.json` and the same as Markdown.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.cores import LOAD_CORE, SERVER_CORE
from benchmarks.reload.versions import Two, make
from benchmarks.results import Report, Row, machine, write
from shared.bus import NatsBus
from shared.events import ModelPromoted
from shared.settings import BusSettings
from shared.streams import declare_when_reachable
from tests.integration.predictors import Predictor, predictor_process
from tests.servers import nats_server

MOST_MB, MOST_S = 150, 4.0  # that a worker of one model takes, and that its start takes, the model being in its cache


def name_of(number: int) -> str:
    """Return the name of a model."""
    return f"model-{number}"


async def promote(nats_url: str, two: Two, count: int) -> None:
    """Say on the bus what the relay says of so many models' champions; each has a bundle of its own."""
    async with NatsBus(BusSettings(nats_url=nats_url), "benchmark") as bus:
        await declare_when_reachable(bus.js, 1)
        for number in range(count):
            bundle = await bus.put_bundle(*await asyncio.to_thread(two.archive, 2 * number + 1))
            promoted = ModelPromoted(
                version="1",
                bundle=bundle,
                generation=1,
                ledger=str(uuid.uuid4()),
                actor="benchmark",
                reason="",
                committed_at=datetime.now(UTC),
            )
            await bus.publish(promoted, name_of(number))


@contextmanager
def started(nats_url: str, folder: Path, loading: str) -> Iterator[tuple[Predictor, float]]:
    """Run one worker on one core; yield it when it is ready, with the seconds that took."""
    began = time.monotonic()
    with predictor_process(nats_url, folder, PREDICTOR_WORKERS="1", BATON_LOADING=loading) as predictor:
        yield predictor, time.monotonic() - began


def loaded(predictor: Predictor, two: Two, connections: int, seconds: float) -> dict[str, Any]:
    """Ask the first model over connections without pause; return the figures."""
    task = {"system": "baton", "model": name_of(0), "port": int(predictor.url.rpartition(":")[2]), "rows": 1}
    task |= {"questions": str(two.folder / "capacity.json"), "connections": connections, "seconds": seconds}
    command = [sys.executable, "-m", "benchmarks.serving.load", json.dumps(task | {"warm_up": 1.0, "core": LOAD_CORE})]
    figures: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return figures


def measure(two: Two, folder: Path, count: int, seconds: float) -> Iterator[Row]:
    """Yield the lines of a worker that has nothing in its cache, of one that has everything, and of a lazy one."""
    folder.mkdir()
    with nats_server(folder) as nats_url:
        asyncio.run(promote(nats_url, two, count))
        for cache, loading in (("cold", "eager"), ("warm", "eager"), ("lazy", "lazy")):
            with started(nats_url, folder, loading) as (predictor, start_s):
                (worker,) = predictor.workers()
                began = time.monotonic()
                predictor.get(f"/v2/models/{name_of(0)}")  # which loads it, if it is not
                first_s = time.monotonic() - began
                one, many = (loaded(predictor, two, connections, seconds) for connections in (1, 16))
                yield {
                    "models": count,
                    "cache": cache,
                    "start_s": round(start_s, 2),
                    "first_ms": round(first_s * 1e3, 1),
                    "rss_mb": round(worker.memory_info().rss / 1e6),
                    "p50_ms": round(one["p50_ms"], 3),
                    "p99_ms": round(one["p99_ms"], 3),
                    "rps_16": round(many["rps"]),
                    "p99_ms_16": round(many["p99_ms"], 3),
                    "errors": one["errors"] + many["errors"],
                }


def main() -> None:
    """Measure, print, write; fail if an answer was wrong, or if one model takes more than it may."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=3.0)
    asked, report = parser.parse_args(), Report()
    os.sched_setaffinity(0, {SERVER_CORE})  # whatever is started inherits it; the load moves to the other core
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as name:
        two = make("logistic-regression", Path(name) / "bundles")
        for count in (1, asked.models):
            for row in measure(two, Path(name) / str(count), count, asked.seconds):
                print(json.dumps(row), flush=True)
                report.many.append(row)
    report.machine = machine()
    write(report)
    if any(row["errors"] for row in report.many):
        raise SystemExit("there were answers that are not 200 or not scikit-learn's")
    one = next(row for row in report.many if (row["models"], row["cache"]) == (1, "warm"))
    if one["rss_mb"] > MOST_MB or one["start_s"] > MOST_S:
        raise SystemExit(f"a worker of one model is to take at most {MOST_MB} MB and {MOST_S:g} s to start: see above")


if __name__ == "__main__":
    main()
