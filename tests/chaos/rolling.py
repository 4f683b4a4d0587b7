"""`python -m tests.chaos.rolling`: every part of a stack is restarted in turn, under work, as an upgrade does.

Clients ask one predictor and, where that fails, the other one, as the proxy does that stands before several. See
docs/chaos.md. One line on stdout, and exit code 1 on any violation.
"""

import asyncio
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import httpx

from cli.demo import load
from shared.bus import NatsBus
from shared.settings import BusSettings
from tests.chaos.journal import Journal
from tests.chaos.promotions import Promotions
from tests.chaos.stack import PROMOTERS, READY_WITHIN_S, Stack, running
from tests.chaos.under_work import STEADY, Outcome, tell, under_work

PREDICTORS = ("predictor-1", "predictor-2")
ORDER = ("nats", "postgres", "mlflow", *PREDICTORS, *PROMOTERS, "trainer")  # docs/backup.md says why


class Balanced(load.Load):
    """Asks one predictor, and the next one where that fails; a request failed if all of them did."""

    def __init__(self, urls: list[str], model: str) -> None:
        super().__init__(urls[0], {"x": 1})
        self.elsewhere: Counter[str] = Counter()
        self._urls = [f"{url}/models/{model}/predict" for url in urls]

    async def _ask(self, client: httpx.AsyncClient) -> None:
        self.requests += 1
        fault = ""
        for url in [*self._urls[self.requests % 2 :], *self._urls[: self.requests % 2]]:
            try:
                answer = await client.post(url, json=self._rows)
                answer.raise_for_status()
            except asyncio.CancelledError:
                self.requests -= 1  # cut off by us, neither answered nor failed
                raise
            except httpx.HTTPError as error:
                fault = f"{type(error).__name__}: {error}"
                self.elsewhere[type(error).__name__] += 1
            else:
                self.versions[answer.json()["version"]] += 1
                return
        self.failures.append(fault)


async def run(data_dir: Path, rounds: int) -> Outcome:
    """Restart every part in a directory that holds no more than a database that MLflow has migrated."""
    journal = Journal(data_dir / "journal.log")
    async with (
        running(data_dir, journal, PREDICTORS) as stack,
        NatsBus(BusSettings(nats_url=stack.nats), "chaos") as bus,
    ):

        async def harm(promotions: Promotions) -> None:
            for part in ORDER * rounds:
                await _restarted(stack, part, journal)
                await promotions.reach_all()

        balanced = Balanced(stack.predictors, STEADY)
        outcome = await under_work(stack, bus, [balanced], harm, journal)
    counts = {**outcome.counts, "restarts": len(ORDER) * rounds, "asked_elsewhere": balanced.elsewhere.total()}
    return Outcome(counts, outcome.violations)


async def _restarted(stack: Stack, part: str, journal: Journal) -> None:
    """Have a part end as it ends when it is told to, and wait until the one in its place is ready."""
    before = stack.supervisor.pids[part]
    journal.note(f"== restart {part}")
    os.kill(before, signal.SIGINT if part == "postgres" else signal.SIGTERM)
    (child,) = (child for child in stack.children if child.name == part)
    async with asyncio.timeout(READY_WITHIN_S):
        while stack.supervisor.pids[part] == before or await child.check() is not None:
            await asyncio.sleep(0.1)
    journal.note(f"== {part} is back")


if __name__ == "__main__":
    sys.exit(tell("chaos:rolling", run, 1, __doc__))
