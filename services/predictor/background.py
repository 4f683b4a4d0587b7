"""Work in a thread of its own, with a deadline; and how a thread lets whoever answers requests go first."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Generic, TypeVar

NICER = 10  # of Linux's niceness: a tenth of a processor that requests want all of, whatever is left of another one
NICEST = 19
SHORTEST_S = 0.01  # between two looks at how much of a deadline is left, however little that is

T = TypeVar("T")


class Background(Generic[T]):
    """Work in a thread of its own, which begins at once, and for which the process does not wait when it ends."""

    def __init__(self, name: str, work: Callable[[], T]) -> None:
        self._result: Future[T] = Future()
        self._result.set_running_or_notify_cancel()  # so that who gives up waiting cannot take the result's place away
        self._thread = threading.Thread(target=self._run, args=(work,), name=name, daemon=True)
        self._thread.start()

    async def result(self, deadline_s: float) -> T:
        """Return what the work returns; raise what it raises, or `TimeoutError` if it takes too long.

        Time in which it waited for the processor does not count: that others want it speaks against no work.
        """
        began, result = monotonic(), asyncio.wrap_future(self._result)
        try:
            while True:
                left_s = began + deadline_s + self._held_up_s() - monotonic()
                if self._result.done():
                    return await result
                if left_s <= 0:
                    raise TimeoutError
                await asyncio.wait([result], timeout=max(left_s, SHORTEST_S))
        finally:
            result.cancel()  # what becomes of the work later is nobody's any more

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._result.set_result(work())
        except BaseException as error:  # whatever it is, it is for who waits
            self._result.set_exception(error)

    def _held_up_s(self) -> float:
        """Return how long the thread has been ready to run, and did not; 0 where nobody knows, or it has ended."""
        try:
            stat = Path(f"/proc/self/task/{self._thread.native_id}/schedstat").read_text()
        except OSError:
            return 0.0
        return int(stat.split()[1]) / 1e9


def give_way() -> None:
    """Lower the priority of the thread that asks, for good: to raise it again needs privileges.

    Nothing changes where it is forbidden, nor anywhere but on Linux, where priorities are those of whole processes.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, min(os.getpriority(os.PRIO_PROCESS, thread) + NICER, NICEST))
