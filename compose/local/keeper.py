"""Keeps one child running: starts it when what it needs is ready, and starts it again when it dies."""

import time
from collections.abc import Awaitable, Callable, Iterable

import anyio

from compose.local.backoff import Backoff
from compose.local.child import Child, State
from compose.local.datadir import DataDir
from compose.local.logs import tail
from compose.local.process import Process
from shared.errors import StackError

FIRST_TRIES = 5
POLL_S = 0.1
SHOWN_LINES = 15

Report = Callable[[str, State, str], None]
"""Hears (part, state, detail) whenever the state of a part changes."""


class Keeper:
    """One child and its present process; `ready` is set once it was ready, `stopped` when it is gone for good."""

    def __init__(self, child: Child, data: DataDir, report: Report, backoff: Backoff) -> None:
        self.child = child
        self.ready = anyio.Event()
        self.given_up = anyio.Event()
        self.stopped = anyio.Event()
        self.process: Process | None = None
        self.failure: StackError | None = None
        self._halt = anyio.Event()
        self._fault = ""
        self._data = data
        self._report = report
        self._backoff = backoff

    def halt(self) -> None:
        """Start the child no more; `keep` stops it as soon as those that use it have stopped."""
        self._halt.set()

    async def keep(self, needs: Iterable["Keeper"], users: Iterable["Keeper"]) -> None:
        """Run the child from when its needs are ready until it is told to halt and its users have stopped."""
        with anyio.CancelScope(shield=True):  # the stop is orderly also when it comes as a cancellation
            try:
                for need in needs:
                    await first_of(need.ready.wait, self._halt.wait)
                await self._restart_until_halted()
                for user in users:
                    await user.stopped.wait()
                await self._stop()
            finally:
                self.stopped.set()

    async def _restart_until_halted(self) -> None:
        failures, began = 0, time.monotonic()
        while not self._halt.is_set():
            ran_s = await self._live()
            if self._halt.is_set():
                return
            failures = self._backoff.failures_after(failures, ran_s)
            late = time.monotonic() - began >= self.child.ready_within_s
            if not self.ready.is_set() and (late or failures >= FIRST_TRIES):
                self._give_up(self._cannot_start())
                return
            self._report(self.child.name, "restarting", self._fault)
            with anyio.move_on_after(self._backoff.delay_s(failures)):
                await self._halt.wait()

    async def _live(self) -> float:
        """Run one life of the child, until it ends or must halt; return for how many seconds it was ready."""
        try:
            self.process = await self._start()
        except StackError as error:
            self._fault = str(error)
            if not self.ready.is_set():
                self._give_up(error)
            return 0.0
        self._fault = await self._wait_until_ready(self.process)
        ready_at = time.monotonic()
        if not self._fault:
            self.ready.set()
            self._report(self.child.name, "ready", "")
            await first_of(self.process.ended, self._halt.wait)
            self._fault = self.process.ending
        if not self._halt.is_set():
            await self.process.kill()
        return time.monotonic() - ready_at

    async def _start(self) -> Process:
        self._report(self.child.name, "starting", "")
        await self.child.prepare()
        return await Process.start(self.child, self._data)

    async def _wait_until_ready(self, process: Process) -> str:
        """Return nothing when the child is ready, otherwise why it is not."""
        missing: str | None = "no answer"
        with anyio.move_on_after(self.child.ready_within_s):
            while process.runs and not self._halt.is_set():
                missing = await self.child.check()
                if missing is None:
                    return ""
                await anyio.sleep(POLL_S)
            return process.ending if not process.runs else "stopped while it started"
        return f"not ready after {self.child.ready_within_s:.0f} s ({missing})"

    async def _stop(self) -> None:
        if self.process is not None:
            self._report(self.child.name, "stopping", "")
            await self.process.stop()
            self._report(self.child.name, "stopped", "")

    def _give_up(self, error: StackError) -> None:
        self.failure = error
        self._halt.set()
        self.given_up.set()

    def _cannot_start(self) -> StackError:
        path = self._data.log(self.child.name)
        lines = "\n  ".join(tail(path, SHOWN_LINES))
        return StackError(
            f"{self.child.name} cannot be started: {self._fault}; the last lines of {path} are:\n  {lines}"
        )


async def first_of(*waits: Callable[[], Awaitable[object]]) -> None:
    """Return as soon as one of several waits is over; the others are cancelled."""
    async with anyio.create_task_group() as tasks:

        async def race(wait: Callable[[], Awaitable[object]]) -> None:
            await wait()
            tasks.cancel_scope.cancel()

        for wait in waits:
            tasks.start_soon(race, wait)
