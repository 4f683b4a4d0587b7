"""The cores of a benchmark: one for the server, one for the load, and for the kernel as far as it can be moved."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

INTERRUPTS = Path("/proc/interrupts")  # how often each device has interrupted each core
KERNEL = 2, "kthreadd"  # the process whose children the kernel's threads are; in a container there is none
LATENCY = Path("/dev/cpu_dma_latency")  # the kernel's: microseconds that a core may take to wake up
UNBOUND = Path("/sys/devices/virtual/workqueue/cpumask")  # where the kernel does work that is bound to no core


def by_interrupts(table: str, allowed: set[int]) -> list[int]:
    """Return the allowed cores of `/proc/interrupts`, those first that devices interrupt least.

    What a database writes interrupts the core that the kernel chose for the disk when the machine started, and which
    often cannot be changed.
    """
    head, *lines = table.splitlines()
    cores = [int(name.removeprefix("CPU")) for name in head.split()]
    devices = [line.split() for line in lines if line.split(":")[0].strip().isdigit() and "timer" not in line]
    counts = {core: sum(int(device[place]) for device in devices) for place, core in enumerate(cores, start=1)}
    return sorted(allowed & counts.keys(), key=lambda core: counts[core])


def chosen() -> tuple[int, int]:
    """Return the server's core and the load's; without two, they share one."""
    allowed = os.sched_getaffinity(0)
    with suppress(OSError):
        found = by_interrupts(INTERRUPTS.read_text(), allowed)
        return found[0], found[-1]
    return min(allowed), max(allowed)


SERVER_CORE, LOAD_CORE = chosen()


@contextmanager
def cleared(core: int = SERVER_CORE) -> Iterator[str]:
    """Keep the kernel's threads off a core where that may be done, and let them return afterwards; say what was done.

    What databases write to the disk, for one, is written by these: milliseconds at a time, and on any core.
    """
    allowed = dict(kernel_threads())
    mask = _unbound()
    try:
        moved = [_place(thread, cores - {core}) for thread, cores in allowed.items()]
        _bind(mask & ~(1 << core))
        yield f"{sum(moved)} of the kernel's {len(moved)} threads kept off core {core}, the server's"
    finally:
        _bind(mask)
        for thread, cores in allowed.items():
            _place(thread, cores)


@contextmanager
def awake() -> Iterator[str]:
    """Keep idle cores from falling asleep where that may be asked for; say whether they are.

    To wake up takes a virtual one 20 us or more. That is a fifth of an answer, it is nobody's work, and a server that
    is asked again and again without pause sleeps after each answer.
    """
    try:
        asked = LATENCY.open("wb", buffering=0)
    except OSError:
        yield "idle cores free to sleep"
        return
    with asked:  # as long as it is open
        asked.write(struct.pack("i", 0))
        yield "idle cores kept awake"


def kernel_threads() -> Iterator[tuple[int, set[int]]]:
    """Yield the kernel's threads and the cores that each may run on; those of a core of their own stay there."""
    number, name = KERNEL
    for process in psutil.process_iter():
        with suppress(OSError, psutil.Error):  # it ended meanwhile
            if process.ppid() == number and psutil.Process(number).name() == name:
                yield process.pid, os.sched_getaffinity(process.pid)


def _place(thread: int, cores: set[int]) -> bool:
    with suppress(OSError, ValueError):  # not ours to move, bound to its core, or gone
        os.sched_setaffinity(thread, cores)
        return True
    return False


def _unbound() -> int:
    with suppress(OSError):
        return int(UNBOUND.read_text().replace(",", ""), 16)
    return 0


def _bind(mask: int) -> None:
    with suppress(OSError):
        if mask:
            UNBOUND.write_text(f"{mask:x}")
