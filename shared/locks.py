"""Locks on open files: the kernel's, which end with whoever holds them, however that ends."""

import fcntl
from contextlib import suppress
from typing import IO, Any


def take(file: IO[Any] | int) -> bool:
    """Lock an open file until it is closed; return False if somebody else holds it."""
    return _lock(file, fcntl.LOCK_EX)


def is_held(file: IO[Any] | int) -> bool:
    """Return whether somebody has taken an open file. Until it is closed, nobody can take it, but others may look."""
    return not _lock(file, fcntl.LOCK_SH)


def _lock(file: IO[Any] | int, kind: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(file, kind | fcntl.LOCK_NB)
        return True
    return False
