"""The havoc: carries out a plan against a running stack."""

import asyncio
import random
import signal
from collections import Counter
from contextlib import suppress

import psutil

from tests.chaos.journal import Journal
from tests.chaos.plan import Step
from tests.chaos.stack import Stack

WATCH_S = 0.1
TARGET_WITHIN_S = 60.0
AMBUSH_S = 25.0


class Havoc:
    """Kills, stops and lies in wait; `tally` counts what was really done, `worker_starts` when workers began."""

    def __init__(self, stack: Stack, journal: Journal, seed: int) -> None:
        self.tally: Counter[str] = Counter()
        self.worker_starts: set[float] = set()
        self._stack = stack
        self._journal = journal
        self._chance = random.Random(f"targets {seed}")
        self._under_way: list[asyncio.Task[None]] = []

    async def carry_out(self, plan: list[Step]) -> None:
        """Do every step at its time; in the end all that was held goes on, and no point is armed."""
        acts = {"kill": self._kill, "stop": self._stop, "ambush": self._ambush}
        began = asyncio.get_running_loop().time()
        try:
            for step in plan:
                await asyncio.sleep(began + step.at_s - asyncio.get_running_loop().time())
                self._under_way.append(asyncio.create_task(acts[step.act](step)))
            await asyncio.gather(*self._under_way)
        finally:
            for act in self._under_way:
                act.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    async def watch_workers(self) -> None:
        """Keep note of every process of the predictor, for ever."""
        while True:
            with suppress(psutil.Error, KeyError):
                for process in psutil.Process(self._stack.supervisor.pids["predictor"]).children():
                    self.worker_starts.add(process.create_time())
            await asyncio.sleep(WATCH_S)

    async def _kill(self, step: Step) -> None:
        family = await self._family(step.target)
        victim = self._chance.choice(family[1:]) if step.in_child and family[1:] else family[0]
        with suppress(psutil.Error):
            victim.send_signal(signal.SIGKILL)
            self.tally["kills"] += 1
            self._journal.note(f"== kill {step.target} pid {victim.pid}{' (child)' if victim is not family[0] else ''}")

    async def _stop(self, step: Step) -> None:
        family = await self._family(step.target)
        self.tally["stops"] += 1
        self._journal.note(f"== stop {step.target} for {step.seconds:.1f} s")
        try:
            _signal(family, signal.SIGSTOP)
            await asyncio.sleep(step.seconds)
        finally:
            _signal(family, signal.SIGCONT)
            self._journal.note(f"== continue {step.target}")

    async def _ambush(self, step: Step) -> None:
        """Have whoever passes a point next kill itself there; if nobody does in time, kill somebody else."""
        armed = self._stack.faults / step.target
        while armed.exists():  # one ambush at a time at each point
            await asyncio.sleep(WATCH_S)
        armed.touch()
        self._journal.note(f"== wait at {step.target}")
        try:
            async with asyncio.timeout(AMBUSH_S):
                while armed.exists():
                    await asyncio.sleep(WATCH_S)
        except TimeoutError:
            armed.unlink(missing_ok=True)
            await self._kill(Step(step.at_s, "kill", step.otherwise))
        else:
            self.tally.update(("kills", "faults"))
            self._journal.note(f"== hit {step.target}")
        finally:
            armed.unlink(missing_ok=True)

    async def _family(self, part: str) -> list[psutil.Process]:
        """Return a part's process and its descendants, as soon as it runs."""
        async with asyncio.timeout(TARGET_WITHIN_S):
            while True:
                with suppress(psutil.Error, KeyError):
                    process = psutil.Process(self._stack.supervisor.pids[part])
                    if process.status() != psutil.STATUS_ZOMBIE:
                        return [process, *process.children(recursive=True)]
                await asyncio.sleep(WATCH_S)


def _signal(family: list[psutil.Process], number: signal.Signals) -> None:
    for process in family:
        with suppress(psutil.Error):
            process.send_signal(number)
