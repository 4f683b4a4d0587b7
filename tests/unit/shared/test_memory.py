"""What a process keeps of memory that it does not use."""

import ctypes
import resource
from pathlib import Path

import pytest

from shared.memory import give_back

BYTES = 100_000  # of a block: below the least that glibc may take from the system by itself, and give back so
BLOCKS = 1000


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="other allocators give back when they like")
def test_what_lies_between_blocks_in_use_is_given_back() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    blocks = [libc.malloc(BYTES) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, BYTES)
    for block in blocks[:-1]:
        libc.free(block)
    kept = resident()
    give_back()
    assert kept - resident() > BYTES * BLOCKS / 2
    libc.free(blocks[-1])
