"""Harm done to a stack under work and load: what has to hold whoever is killed, restarted or away meanwhile."""

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.demo import load
from shared.bus import NatsBus
from shared.tasks import end
from tests.chaos import checks, witness
from tests.chaos.evidence import Evidence
from tests.chaos.journal import Journal
from tests.chaos.promotions import Outsider, Promotions
from tests.chaos.publisher import Publisher
from tests.chaos.quiet import quiet
from tests.chaos.reading import gathered
from tests.chaos.run import FIRST_WITHIN_S, QUIET_WITHIN_S
from tests.chaos.stack import WORKERS, Stack
from tests.chaos.template import make_template
from tests.chaos.workload import Workload

STEADY = "steady"  # the model that predictions are asked of; nobody but its outsider touches it

Harm = Callable[[Promotions], Awaitable[None]]


@dataclass(frozen=True)
class Outcome:
    """What came of it; `counts` in the order in which they are told."""

    counts: Mapping[str, object]
    violations: list[str]

    def __str__(self) -> str:
        counts = " ".join(f"{name}={count}" for name, count in self.counts.items())
        return f"{counts} violations={len(self.violations)}"


async def under_work(stack: Stack, bus: NatsBus, loads: Sequence[load.Load], harm: Harm, journal: Journal) -> Outcome:
    """Do harm while requests, promotions and predictions go on; then compare what was left with what was seen."""
    await asyncio.to_thread(witness.install, stack.database)
    workload, publisher = Workload(bus, stack.mlflow, 1, journal), Publisher(bus, STEADY)
    outsider = await asyncio.to_thread(Outsider, stack, bus, STEADY)
    workers = WORKERS * len(stack.predictors)
    promotions = Promotions(bus, STEADY, outsider.promote, workers=workers, journal=journal)
    await workload.first_versions(FIRST_WITHIN_S)
    await promotions.reach_all()
    async with _going_on(workload, publisher, loads):
        await harm(promotions)
    journal.note("== quiet")
    models = [*workload.models, STEADY]
    asked = Evidence(models=models, requests=workload.requests, commands=workload.commands)
    missing = await quiet(stack, bus, asked, journal, QUIET_WITHIN_S)
    evidence = await gathered(asked, stack.database, bus.js, stack.predictors, WORKERS)
    failed, lost = [failure for one in loads for failure in one.failures], await publisher.faults()
    counts = {
        "promotions": sum(map(len, checks.changes_of(evidence.witnessed).values())),
        "trained": len(evidence.endings),
        "predictions": sum(one.requests for one in loads),
        "failed": len(failed),
        "acknowledged": len(publisher.acknowledged),
        "lost": len(lost),
        "deaf": len(promotions.deaf),
        "longest_delay_s": round(max(promotions.delays_s), 1),
        "longest_publish_s": round(publisher.longest_s, 1),
    }
    said = [f"a prediction failed: {failure}" for failure in failed] + lost + promotions.deaf
    said += [f"quiet never came: {fault}" for fault in missing]
    return Outcome(counts, said + checks.violations(evidence))


@asynccontextmanager
async def _going_on(workload: Workload, publisher: Publisher, loads: Sequence[load.Load]) -> AsyncIterator[None]:
    working, publishing = asyncio.create_task(workload.run()), asyncio.create_task(publisher.run())
    async with AsyncExitStack() as stack:
        for one in loads:
            await stack.enter_async_context(load.running(one))
        try:
            yield
        finally:
            working.cancel()  # once, for it brings to an end what it began
            await asyncio.gather(working, return_exceptions=True)
            await end([publishing])


def tell(name: str, run: Callable[[Path, int], Awaitable[Outcome]], rounds: int, description: str | None) -> int:
    """Run once as a command, print one line, and return the exit code; with violations the directory is kept."""
    parser = argparse.ArgumentParser(prog=f"task {name} --", description=description)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"how often each part has its turn ({rounds})")
    chosen, began = parser.parse_args(), time.monotonic()
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    warnings.simplefilter("ignore", FutureWarning)  # stages are deprecated, and still what many use
    data_dir = Path(tempfile.mkdtemp(prefix="baton-chaos-"))
    data_dir.chmod(0o755)  # root's PostgreSQL runs as another user

    async def prepared() -> Outcome:
        await make_template(data_dir)
        return await run(data_dir, chosen.rounds)

    outcome = asyncio.run(prepared())
    print(f"rounds={chosen.rounds} {outcome} seconds={time.monotonic() - began:.0f}", flush=True)
    if not outcome.violations:
        shutil.rmtree(data_dir)
    for violation in outcome.violations:
        print(f"  {violation}", file=sys.stderr)
    return int(bool(outcome.violations))
