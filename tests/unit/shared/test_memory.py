"""What a process keeps of memory that it does not use."""

import ctypes
import sys
from pathlib import Path

import pytest

from shared.memory import give_back

MOST = 100_000  # bytes that glibc takes from its heap; what is larger it gives back by itself
BLOCKS = 1000


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="other allocators give back when they like")
def test_what_lies_between_blocks_in_use_is_given_back() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    blocks = [libc.malloc(MOST) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, MOST)
    for block in blocks[:-1]:
        libc.free(block)
    kept = resident()
    give_back()
    assert kept - resident() > MOST * BLOCKS / 2
    libc.free(blocks[-1])
