"""Locks on open files: the kernel's, which end with whoever holds them, however that ends."""

import fcntl
from contextlib import suppress
from typing import IO, Any


def take(file: IO[Any] | int) -> bool:
    """Lock an open file until it is closed; return False if somebody else holds it."""
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
