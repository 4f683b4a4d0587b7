"""`python -m tests.chaos.cluster --rounds N`: three NATS servers, each killed N times under work, and nothing is lost.

See docs/chaos.md. One line on stdout, and exit code 1 on any violation.
"""

import sys
from pathlib import Path

from cli.demo import load
from compose.local.settings import ALWAYS
from shared.bus import NatsBus
from shared.settings import BusSettings
from tests.chaos.journal import Journal
from tests.chaos.promotions import Promotions
from tests.chaos.siege import siege
from tests.chaos.stack import Bus, running
from tests.chaos.under_work import STEADY, Outcome, tell, under_work
from tests.nodes import nats_nodes

PREDICTORS = ("predictor-1", "predictor-2")
SERVERS = 3


async def run(data_dir: Path, rounds: int) -> Outcome:
    """Besiege a stack of its own in a directory that holds no more than a database that MLflow has migrated."""
    journal = Journal(data_dir / "journal.log")
    with nats_nodes(data_dir / "nodes", SERVERS, ALWAYS) as nodes:
        settings = BusSettings(nats_url=nodes.url)
        async with (
            running(data_dir, journal, PREDICTORS, Bus(nodes.url, nodes.environment)) as stack,
            NatsBus(settings, "chaos") as bus,
        ):
            loads = [load.Load(f"{url}/models/{STEADY}/predict", {"x": 1}) for url in stack.predictors]

            async def harm(promotions: Promotions) -> None:
                for number in range(1, rounds + 1):
                    await siege(nodes, promotions, journal)
                    failed, asked = sum(len(one.failures) for one in loads), sum(one.requests for one in loads)
                    delay_s = max(promotions.delays_s)
                    so_far = f"{failed} of {asked} predictions failed, longest delay {delay_s:.1f} s"
                    journal.note(f"== round {number} is over: {so_far}, deaf: {promotions.deaf}")

            return await under_work(stack, bus, loads, harm, journal)


if __name__ == "__main__":
    sys.exit(tell("chaos:cluster", run, 20, __doc__))
