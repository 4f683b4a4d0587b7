"""One run: start, havoc under work, quiet, verdict."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from shared.bus import NatsBus
from shared.settings import BusSettings
from tests.chaos import checks, witness
from tests.chaos.evidence import Evidence
from tests.chaos.havoc import Havoc
from tests.chaos.journal import Journal
from tests.chaos.plan import make_plan
from tests.chaos.quiet import quiet
from tests.chaos.reading import gathered
from tests.chaos.stack import WORKERS, running
from tests.chaos.workload import Workload

QUIET_WITHIN_S = 420.0
FIRST_WITHIN_S = 180.0


@dataclass(frozen=True)
class Outcome:
    """What came of a run; `counts` in the order in which they are told."""

    seed: int
    counts: dict[str, int]
    violations: list[str]
    seconds: float

    def __str__(self) -> str:
        counts = " ".join(f"{name}={count}" for name, count in self.counts.items())
        return f"seed={self.seed} {counts} violations={len(self.violations)} seconds={self.seconds:.0f}"


async def run(seed: int, kills: int, data_dir: Path) -> Outcome:
    """Run one seed on a stack of its own in a directory that is empty."""
    began = time.monotonic()
    journal = Journal(data_dir / "journal.log")
    async with running(data_dir, journal) as stack, NatsBus(BusSettings(nats_url=stack.nats), "chaos") as bus:
        await asyncio.to_thread(witness.install, stack.database)
        workload, havoc = Workload(bus, stack.mlflow, seed, journal), Havoc(stack, journal, seed)
        await _havoc_under_work(workload, havoc, seed, kills)
        journal.note("== quiet")
        asked = Evidence(models=workload.models, requests=workload.requests, commands=workload.commands)
        missing = await quiet(stack, bus, asked, journal, QUIET_WITHIN_S)
        asked = replace(asked, worker_starts=sorted(havoc.worker_starts))
        evidence = await gathered(asked, stack.database, bus.js, stack.predictors, WORKERS)
    violations = [f"quiet never came: {fault}" for fault in missing] + checks.violations(evidence)
    return Outcome(seed, _counts(evidence, havoc.tally), violations, time.monotonic() - began)


async def _havoc_under_work(workload: Workload, havoc: Havoc, seed: int, kills: int) -> None:
    await workload.first_versions(FIRST_WITHIN_S)
    beside = [asyncio.create_task(workload.run()), asyncio.create_task(havoc.watch_workers())]
    try:
        await havoc.carry_out(make_plan(seed, kills))
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


def _counts(evidence: Evidence, tally: Counter[str]) -> dict[str, int]:
    return {
        "requests": len(evidence.requests),
        "finished": sum(ending.version is not None for ending in evidence.endings),
        "commands": len(evidence.commands),
        "kills": tally["kills"],
        "stops": tally["stops"],
        "at_points": tally["faults"],
        "promotions": sum(map(len, checks.changes_of(evidence.witnessed).values())),
        "decisions": len(evidence.decided),
    }
