"""What promotions do to requests: steady load at a share of the capacity, with promotions here, elsewhere, and without.

    ./task bench -- reload [--promotions 100] [--share 0.7] [--models forest ...] [--systems baton mlserver]
        [--workers 1 2] [--arrivals random even] [--sync always] [--folder /dev/shm]

The capacity is the rate at which the server's core is busy all the time. A promotion moves the alias in MLflow on
PostgreSQL; capture, relay, NATS and the predictor are real: one worker on a core, as it should be, or two that share
it. Requests arrive at random, as those of many users do, or evenly, which shows the shortest pause. A request has so
many rows that the load generator's core, which registry and bus share, has room for these. `again` promotes two
versions by turns, `fresh` some that no predictor has seen until they are prefetched. MLServer is told to load each
version; it has a fifth of the promotions, for each takes long.

Registry, relay and bus work for each promotion, on the load's core. That costs requests something on a small or shared
machine, whatever the predictor does. So as many promotions are made elsewhere: in a registry and on a bus of their own,
of which the predictor hears nothing. `p99_ratio` compares with no promotion at all, `p99_ratio_elsewhere` with these,
for versions that are promoted again. Both registries run all the time.

A shared machine pauses several times a second, for milliseconds at times. So a promotion, one elsewhere and none take
turns, of half a second where nothing is uploaded. Each p99 is the median of those of the turns, each ratio that of the
ratios within the rounds; `slow` are the shares of turns that are beyond the bound of the ratio. A delay is from within
the commit, so that the disk, which pauses, too, is part of it: `--folder` puts the data elsewhere.
Writes the part `reload` of `benchmarks/results/<date>.json` and the same as Markdown. Fails where a request failed, an
answer was not of the version that it names, or a figure is beyond its bound.
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.cores import cleared
from benchmarks.reload.arrivals import ARRIVALS
from benchmarks.reload.loading import ROWS, capacity, loading
from benchmarks.reload.mlserver import PROGRAM, Loads, mlserver
from benchmarks.reload.stack import Elsewhere, Promotions, Registry, Servers, elsewhere, promotions, registry, servers
from benchmarks.reload.turns import Turns, p99_ms, ratio, slow, take_turns
from benchmarks.reload.versions import Two, make
from benchmarks.results import Report, Row, machine, write
from compose.local.settings import ALWAYS
from shared.memory import exempt_loaded

RATIO = 1.3  # at most, `p99_ratio` of versions that are promoted again
DELAY_MS = {"delay_p50_ms": 10.0, "delay_p99_ms": 50.0}  # at most, of all, for all are prefetched
PEER = 0.2  # of the promotions
FRESH = {"logistic-regression": 1.0, "forest": 0.1}  # of the promotions: each is a bundle of its own on the bus


@dataclass(frozen=True)
class Subject:
    """What is measured: the server of a model at a port, what promotes there, and what, if anything, elsewhere.

    `rate` is how many requests it is asked per second.
    """

    system: str
    two: Two
    made: Promotions | Loads
    other: Elsewhere | None
    port: int
    process: psutil.Process
    workers: int
    rate: float = 0.0


async def series(kind: str, of: Subject, count: int) -> tuple[Turns, list[float]]:
    """Promote so often, by turns with as many elsewhere and none; return the turns and the workers' delays in ms.

    What `fresh` needs besides promotions, as uploads, is not done elsewhere, so that there is nothing to compare with.
    """
    delays_ms, made = [], of.made
    known = [await made.register(), await made.register()] if kind == "again" else []

    async def promote(number: int) -> None:
        version = known[number % 2] if known else await made.register()
        delays_ms.extend(await made.promote(version))

    return await take_turns(count, promote, of.other.promote if of.other and known else None), delays_ms


def figures(turns: Turns, delays_ms: list[float], answered: np.ndarray) -> Row:
    """Return what a line says of latencies and delays."""
    during, without = p99_ms(answered, turns.here), p99_ms(answered, turns.quiet)
    others = p99_ms(answered, turns.elsewhere) if turns.elsewhere else None
    limit_ms = RATIO * without
    return {
        "p99_ms_without": round(without, 3),
        "p99_ms_elsewhere": others and round(others, 3),
        "p99_ms_during": round(during, 3),
        "p99_ratio": round(ratio(answered, turns.here, turns.quiet), 2),
        "p99_ratio_elsewhere": round(ratio(answered, turns.here, turns.elsewhere), 2) if turns.elsewhere else None,
        "slow_without": round(slow(answered, turns.quiet, limit_ms), 2),
        "slow_elsewhere": round(slow(answered, turns.elsewhere, limit_ms), 2) if turns.elsewhere else None,
        "slow_during": round(slow(answered, turns.here, limit_ms), 2),
        "delay_p50_ms": round(float(np.percentile(delays_ms, 50)), 1),
        "delay_p99_ms": round(float(np.percentile(delays_ms, 99)), 1),
    }


def row(of: Subject, kind: str, arrivals: str, *, answered: np.ndarray, wrong: dict[str, Any]) -> Row:
    """Return what a line says of what was asked."""
    return {
        "system": of.system,
        "model": of.two.name,
        "workers": of.workers,
        "arrivals": arrivals,
        "bundles": kind,
        "rows": ROWS[of.two.name],
        "rps_asked": round(of.rate),
        "rps": round(len(answered) / (answered[-1, 0] - answered[0, 0])),
        "requests": len(answered),
        "failed": wrong["failures"],
        "mismatched": wrong["mismatches"],
    }


async def of_baton(stack: Servers, other: Registry, two: Two, asked: argparse.Namespace) -> list[Row]:
    """Return Baton's lines for a model and a number of workers."""
    async with promotions(stack, two) as made, elsewhere(other, two) as control:
        await made.promote(await made.register())
        await control.promote()
        port = int(stack.predictor.url.rpartition(":")[2])
        return await measure(Subject("baton", two, made, control, port, stack.predictor.process, stack.workers), asked)


async def of_mlserver(two: Two, asked: argparse.Namespace) -> list[Row]:
    """Return MLServer's lines for a model."""
    with mlserver(two) as (loads, server):
        await loads.register()
        return await measure(Subject("mlserver", two, loads, None, loads.port, server, workers=1), asked)


async def measure(of: Subject, asked: argparse.Namespace) -> list[Row]:
    """Return a line for each series."""
    rows = []
    of = replace(of, rate=asked.share * await asyncio.to_thread(capacity, of.system, of.two, of.port, of.process))
    for arrivals, kind, count in cases(of, asked):
        with loading(of.system, of.two, of.port, of.rate, arrivals) as load:
            turns, delays_ms = await series(kind, of, count)
            answered, wrong = await asyncio.to_thread(load.end)
        asked_for = row(of, kind, arrivals, answered=answered, wrong=wrong)
        rows.append(asked_for | {"promotions": len(turns.here)} | figures(turns, delays_ms, answered))
        print(json.dumps(rows[-1] | {"wrong": wrong["failed"] + wrong["mismatched"]}), flush=True)
    return rows


def cases(of: Subject, asked: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    """Yield how requests arrive, what is promoted, and how often; `fresh`, which takes long, once for each model."""
    promotions = asked.promotions * (PEER if of.system == "mlserver" else 1)
    for arrivals in asked.arrivals:
        yield arrivals, "again", max(2, round(promotions))
    if of.system == "mlserver" or of.workers == asked.workers[0]:
        yield asked.arrivals[0], "fresh", max(2, round(promotions * FRESH[of.two.name]))


def installed() -> list[str]:
    """Return the systems that can be started here."""
    return ["baton", "mlserver"] if PROGRAM.exists() else ["baton"]


def main() -> None:
    """Measure, print, write; fail if Baton did."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--promotions", type=int, default=100)
    parser.add_argument("--share", type=float, default=0.7)
    parser.add_argument("--models", nargs="+", choices=list(FRESH), default=list(FRESH))
    parser.add_argument("--systems", nargs="+", choices=["baton", "mlserver"], default=installed())
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--arrivals", nargs="+", choices=list(ARRIVALS), default=list(ARRIVALS))
    parser.add_argument("--sync", default=ALWAYS)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    asked, report = parser.parse_args(), Report()
    with tempfile.TemporaryDirectory(prefix="baton-bench-", dir=asked.folder) as name, cleared() as moved:
        models = [make(model, Path(name) / model) for model in asked.models]
        exempt_loaded()  # as a promoter's own process does: these run in this one
        for workers in asked.workers if "baton" in asked.systems else ():
            folder = Path(name) / f"workers-{workers}"
            with registry(folder / "elsewhere", asked.sync) as other, servers(folder, asked.sync, workers) as stack:
                for two in models:
                    report.reload += asyncio.run(of_baton(stack, other, two, asked))
        if "mlserver" in asked.systems:
            for two in models:
                report.reload += asyncio.run(of_mlserver(two, asked))
    report.machine = machine()
    report.conditions = {
        "reload": f"{moved}, {asked.share:.0%} of the capacity, data in {asked.folder}, sync {asked.sync}"
    }
    write(report)
    if found := faults(report.reload):
        raise SystemExit("\n".join(found))


def faults(rows: list[Row]) -> list[str]:
    """Return what should not be in Baton's lines."""
    found = []
    for each in rows:
        line = "{system}, {model}, workers: {workers}, arrivals: {arrivals}, bundles: {bundles}: ".format(**each)
        if each["system"] == "baton" and (each["failed"] or each["mismatched"]):
            found.append(line + "requests failed, or answers were not of the version that they name")
        if each["system"] == "baton":
            bounds = DELAY_MS | ({"p99_ratio": RATIO} if each["bundles"] == "again" else {})
            beyond = {name: bound for name, bound in bounds.items() if each[name] > bound}
            found += [line + f"{name} is {each[name]}, beyond {bound}" for name, bound in beyond.items()]
    return found


if __name__ == "__main__":
    main()
