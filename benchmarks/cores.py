"""The cores of a benchmark: one for the server, one for the load, and for the kernel as far as it can be moved."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

SERVER_CORE, LOAD_CORE = 0, 1
KERNEL = 2  # the process whose children the kernel's threads are
UNBOUND = Path("/sys/devices/virtual/workqueue/cpumask")  # where the kernel does work that is bound to no core


@contextmanager
def cleared(core: int = SERVER_CORE) -> Iterator[None]:
    """Keep the kernel's threads off a core where that may be done, and let them return afterwards.

    What databases write to the disk, for one, is written by these: milliseconds at a time, and on any core.
    """
    allowed = {thread: os.sched_getaffinity(thread) for thread in kernel_threads()}
    mask = _unbound()
    for thread, cores in allowed.items():
        _place(thread, cores - {core})
    _bind(mask & ~(1 << core))
    try:
        yield
    finally:
        _bind(mask)
        for thread, cores in allowed.items():
            _place(thread, cores)


def kernel_threads() -> list[int]:
    """Return the kernel's threads; those of a core of their own among them, which stay there."""
    return [process.pid for process in psutil.process_iter() if process.ppid() == KERNEL]


def _place(thread: int, cores: set[int]) -> None:
    with suppress(OSError, ValueError):  # not ours to move, bound to its core, or gone
        os.sched_setaffinity(thread, cores)


def _unbound() -> int:
    with suppress(OSError):
        return int(UNBOUND.read_text().replace(",", ""), 16)
    return 0


def _bind(mask: int) -> None:
    with suppress(OSError):
        if mask:
            UNBOUND.write_text(f"{mask:x}")
