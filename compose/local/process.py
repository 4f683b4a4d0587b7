"""One life of a child: the process from its start to its end, with its log."""

import signal
import subprocess
import time
from datetime import UTC, datetime
from typing import BinaryIO

import anyio
import anyio.abc
import anyio.to_thread

from compose.local import leftovers
from compose.local.child import Child
from compose.local.datadir import DataDir
from compose.local.logs import open_log
from shared.errors import StackError


class Process:
    """A running child, in a session of its own, so that a Ctrl-C in the terminal reaches only the supervisor."""

    def __init__(self, child: Child, data: DataDir, process: anyio.abc.Process) -> None:
        self._child = child
        self._data = data
        self._process = process

    @classmethod
    async def start(cls, child: Child, data: DataDir) -> "Process":
        """Start a child and record it; raise `StackError` if its program cannot be started."""
        with open_log(data, child.name) as log:
            log.write(f"--- baton starts {child.name} at {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n".encode())
            log.flush()
            try:
                process = await _spawn(child, data, log)
            except OSError as error:
                raise StackError(
                    f"{child.name} cannot be started: {child.argv[0]}: {error.strerror}; is Baton's environment "
                    "complete? (./task setup)"
                ) from error
        leftovers.keep_record(data, _record(child, process.pid))
        return cls(child, data, process)

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Say whether the process has not ended."""
        return self._process.returncode is None

    async def ended(self) -> None:
        """Wait until the process has ended."""
        await self._process.wait()

    @property
    def ending(self) -> str:
        """Return how the process ended, in a few words."""
        code = self._process.returncode or 0
        return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    async def stop(self) -> None:
        """Ask the process to stop; after its deadline, or when it is gone, kill what is left of the child."""
        if self.runs:
            self._process.send_signal(self._child.stop_signal)
        with anyio.move_on_after(self._child.stop_within_s):
            await self.ended()
        await self.kill()

    async def kill(self) -> None:
        """Kill the process and everything that it left behind."""
        if self.runs:
            self._process.kill()
        await self.ended()
        await anyio.to_thread.run_sync(leftovers.end, self._data, self._child.name)


async def _spawn(child: Child, data: DataDir, log: BinaryIO) -> anyio.abc.Process:
    account = child.account
    return await anyio.open_process(
        [*account.prefix, *child.argv],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**child.env, **leftovers.marks(data, child.name)},
        cwd=child.home,
        start_new_session=True,
        **account.switching,
    )


def _record(child: Child, pid: int) -> leftovers.Record:
    home = str(child.home) if child.home else None
    created = leftovers.created(pid) or time.time()
    return leftovers.Record(child.name, pid, created, int(child.stop_signal), home)
