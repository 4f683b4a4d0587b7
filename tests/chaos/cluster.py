"""`python -m tests.chaos.cluster --rounds N`: three NATS servers, each killed N times under work, and nothing is lost.

See docs/chaos.md. One line on stdout, and exit code 1 on any violation.
"""

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cli.demo import load
from shared.bus import NatsBus
from shared.settings import BusSettings
from tests import bundles
from tests.chaos import checks, witness
from tests.chaos.evidence import Evidence
from tests.chaos.journal import Journal
from tests.chaos.publisher import Publisher
from tests.chaos.quiet import quiet
from tests.chaos.reading import gathered
from tests.chaos.run import FIRST_WITHIN_S, QUIET_WITHIN_S
from tests.chaos.siege import Siege
from tests.chaos.stack import WORKERS, Bus, Stack, running
from tests.chaos.template import make_template
from tests.chaos.workload import Workload
from tests.integration.kit import Versions
from tests.nodes import Nodes, nats_nodes

PREDICTORS = ("predictor-1", "predictor-2")
STEADY = "steady"  # the model that predictions are asked of; nobody else touches it
REPLICAS = 3


@dataclass
class Work:
    """All that goes on while servers are killed."""

    workload: Workload
    publisher: Publisher
    loads: list[load.Load]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Go on until the block ends."""
        tasks = [asyncio.create_task(self.workload.run()), asyncio.create_task(self.publisher.run())]
        async with AsyncExitStack() as stack:
            for one in self.loads:
                await stack.enter_async_context(load.running(one))
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


def reached_through(nodes: Nodes) -> Bus:
    """Return the bus as each service reaches it: by all servers, as a user of its own, who may do what it needs."""

    def of(service: str) -> dict[str, str]:
        return {
            "BATON_NATS_URL": nodes.url(service),
            "BATON_REPLICAS": str(REPLICAS),
            "BATON_DECLARE_STREAMS": str(service == "promoter").lower(),
        }

    return Bus(nodes.url(), of)


async def run(rounds: int, data_dir: Path) -> tuple[dict[str, object], list[str]]:
    """Besiege a stack of its own in a directory that is empty; return what to tell, and what was violated."""
    journal = Journal(data_dir / "journal.log")
    with nats_nodes(data_dir / "nodes", REPLICAS) as nodes:
        settings = BusSettings(nats_url=nodes.url())
        async with (
            running(data_dir, journal, PREDICTORS, reached_through(nodes)) as stack,
            NatsBus(settings, "chaos") as bus,
        ):
            return await _besieged(rounds, nodes, stack, bus, journal)


async def _besieged(
    rounds: int, nodes: Nodes, stack: Stack, bus: NatsBus, journal: Journal
) -> tuple[dict[str, object], list[str]]:
    await asyncio.to_thread(witness.install, stack.database)
    work = Work(
        Workload(bus, stack.mlflow, rounds, journal),
        Publisher(bus, STEADY),
        [load.Load(f"{url}/models/{STEADY}/predict", {"x": 1}) for url in stack.predictors],
    )
    siege = Siege(nodes, bus, STEADY, await _promoting(stack, bus), journal=journal)
    workers = WORKERS * len(stack.predictors)
    await work.workload.first_versions(FIRST_WITHIN_S)
    await siege.promotion(workers)
    async with work.running():
        for number in range(1, rounds + 1):
            journal.note(f"== round {number}")
            await siege.round(workers)
    evidence, missing = await _evidence(work.workload, stack, bus, journal)
    failed = [failure for one in work.loads for failure in one.failures]
    lost = await work.publisher.faults()
    counts: dict[str, object] = {
        "rounds": rounds,
        "kills": siege.kills,
        "promotions": sum(map(len, checks.changes_of(evidence.witnessed).values())),
        "trained": len(evidence.endings),
        "predictions": sum(one.requests for one in work.loads),
        "failed": len(failed),
        "acknowledged": len(work.publisher.acknowledged),
        "lost": len(lost),
        "deaf": len(siege.deaf),
        "longest_delay_s": round(max(siege.delays_s), 1),
        "longest_publish_s": round(work.publisher.longest_s, 1),
    }
    said = [f"a prediction failed: {failure}" for failure in failed] + lost + siege.deaf
    return counts, said + [f"quiet never came: {fault}" for fault in missing] + checks.violations(evidence)


async def _promoting(stack: Stack, bus: NatsBus):
    """Return what registers a version with a bundle that nobody has seen, and promotes it as MLflow's users do."""
    versions = await asyncio.to_thread(Versions, stack.mlflow, STEADY)
    folder = stack.data.root / "bundles"
    folder.mkdir()
    made = 0

    async def promote() -> str:
        nonlocal made
        made += 1
        ref = await bus.put_bundle(*bundles.classifier(folder, 0.1 + 0.8 * made / 1000))
        version = await asyncio.to_thread(versions.plain, ref)
        await asyncio.to_thread(versions.client.set_registered_model_alias, STEADY, "champion", version)
        return version

    return promote


async def _evidence(workload: Workload, stack: Stack, bus: NatsBus, journal: Journal) -> tuple[Evidence, list[str]]:
    journal.note("== quiet")
    models = [*workload.models, STEADY]
    asked = Evidence(models=models, requests=workload.requests, commands=workload.commands)
    missing = await quiet(stack, bus, asked, journal, QUIET_WITHIN_S)
    return replace(await gathered(asked, stack.database, bus.js, stack.predictors, WORKERS)), missing


def main() -> int:
    """Run once; the directory of a run with violations is kept."""
    parser = argparse.ArgumentParser(prog="task chaos:cluster --", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="how often each server is killed (20)")
    options = parser.parse_args()
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    warnings.simplefilter("ignore", FutureWarning)
    data_dir = Path(tempfile.mkdtemp(prefix="baton-cluster-"))
    data_dir.chmod(0o755)  # root's PostgreSQL runs as another user
    began = time.monotonic()
    asyncio.run(make_template(data_dir))
    counts, violations = asyncio.run(run(options.rounds, data_dir))
    told = " ".join(f"{name}={count}" for name, count in counts.items())
    print(f"{told} violations={len(violations)} seconds={time.monotonic() - began:.0f}", flush=True)
    for violation in violations:
        print(f"  {violation}", file=sys.stderr)
    if violations:
        print(f"  kept: {data_dir}/journal.log, {data_dir}/logs, {data_dir}/nodes", file=sys.stderr)
    else:
        shutil.rmtree(data_dir)
    return int(bool(violations))


if __name__ == "__main__":
    sys.exit(main())
