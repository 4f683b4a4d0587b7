"""Whether processes live on. One that ended and that nobody has waited for yet, a zombie, does not."""

from collections.abc import Iterable

import psutil

from tests.servers import wait_for


def alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if is_alive(each)]


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pid_is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and is_alive(psutil.Process(pid))


def wait_until_ended(processes: list[psutil.Process], deadline_s: float = 30.0) -> None:
    """Wait for processes that were told to end, of whichever parent."""
    names = ", ".join(f"{each.name()} ({each.pid})" for each in alive(processes))
    wait_for(f"{names} to end", lambda: not alive(processes), deadline_s)
