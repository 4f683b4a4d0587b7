"""The havoc: carries out a plan against a running stack."""

import asyncio
import random
import signal
from collections import Counter
from contextlib import suppress

import psutil

from shared.faults import POINTS
from tests.chaos.journal import Journal
from tests.chaos.plan import Step
from tests.chaos.stack import Stack

WATCH_S = 0.1
TARGET_WITHIN_S = 30.0


class Havoc:
    """Kills, stops and arms; `tally` counts what was really done, `worker_starts` when predictor workers began."""

    def __init__(self, stack: Stack, journal: Journal, seed: int) -> None:
        self.tally: Counter[str] = Counter()
        self.worker_starts: set[float] = set()
        self._stack = stack
        self._journal = journal
        self._chance = random.Random(f"targets {seed}")
        self._armed: set[str] = set()
        self._stops: list[asyncio.Task[None]] = []

    async def carry_out(self, plan: list[Step]) -> None:
        """Do every step at its time, then let all that is held go on and disarm every point."""
        began = asyncio.get_running_loop().time()
        try:
            for step in plan:
                await asyncio.sleep(began + step.at_s - asyncio.get_running_loop().time())
                await self._do(step)
                self._count_hits()
            await asyncio.gather(*self._stops)
        finally:
            for stop in self._stops:
                stop.cancel()
            await asyncio.gather(*self._stops, return_exceptions=True)
            self._count_hits()
            for name in self._armed:
                (self._stack.faults / name).unlink(missing_ok=True)

    async def watch_workers(self) -> None:
        """Keep note of every process of the predictor, for ever."""
        while True:
            with suppress(psutil.Error, KeyError):
                for process in psutil.Process(self._stack.supervisor.pids["predictor"]).children():
                    self.worker_starts.add(process.create_time())
            await asyncio.sleep(WATCH_S)

    async def _do(self, step: Step) -> None:
        if step.act == "arm":
            self._arm(step.target)
            return
        family = await self._family(step.target)
        if step.act == "kill":
            self._kill(step, family)
        else:
            self._stops.append(asyncio.create_task(self._stop(step, family)))

    async def _family(self, part: str) -> list[psutil.Process]:
        """Return a part's process and its descendants, as soon as it runs."""
        async with asyncio.timeout(TARGET_WITHIN_S):
            while True:
                with suppress(psutil.Error, KeyError):
                    process = psutil.Process(self._stack.supervisor.pids[part])
                    if process.status() != psutil.STATUS_ZOMBIE:
                        return [process, *process.children(recursive=True)]
                await asyncio.sleep(WATCH_S)

    def _kill(self, step: Step, family: list[psutil.Process]) -> None:
        victim = self._chance.choice(family[1:]) if step.in_child and family[1:] else family[0]
        with suppress(psutil.Error):
            victim.send_signal(signal.SIGKILL)
            self.tally["kills"] += 1
            self._journal.note(f"== kill {step.target} pid {victim.pid}{' (child)' if victim is not family[0] else ''}")

    async def _stop(self, step: Step, family: list[psutil.Process]) -> None:
        self.tally["stops"] += 1
        self._journal.note(f"== stop {step.target} for {step.seconds:.1f} s")
        try:
            _signal(family, signal.SIGSTOP)
            await asyncio.sleep(step.seconds)
        finally:
            _signal(family, signal.SIGCONT)
            self._journal.note(f"== continue {step.target}")

    def _arm(self, name: str) -> None:
        assert name in POINTS
        self._count_hits()
        self._armed.add(name)
        (self._stack.faults / name).touch()
        self._journal.note(f"== arm {name}")

    def _count_hits(self) -> None:
        hit = {name for name in self._armed if not (self._stack.faults / name).exists()}
        for name in hit:
            self._journal.note(f"== hit {name}")
        self.tally["hits"] += len(hit)
        self._armed -= hit


def _signal(family: list[psutil.Process], number: signal.Signals) -> None:
    for process in family:
        with suppress(psutil.Error):
            process.send_signal(number)
