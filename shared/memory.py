"""Memory of a process that has to answer at once."""

import ctypes
import gc


def exempt_loaded() -> None:
    """Leave what is loaded by now out of garbage collections.

    One of all that a promoter imports, 240,000 objects, takes up to 160 ms, of a predictor's 30. Nothing else runs
    until it ends, and it would come at any time, also while a promotion is on its way.
    """
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Give the system what the allocator keeps for later, if it is glibc's: a large model's loading leaves much.

    It takes some milliseconds: without the interpreter's lock, but with the allocator's own.
    """
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
