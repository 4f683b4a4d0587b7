"""Work in the background: with little priority, within a deadline that a busy processor does not shorten."""

import os
import sys
import threading
from pathlib import Path

import pytest

from services.predictor.background import NICER, NICEST, Background

linux = pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def waited_ns() -> int:
    return int(Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text().split()[1])


@linux
async def test_only_the_thread_that_works_gives_way() -> None:
    before = niceness()
    assert await Background("work", niceness).result(30) == min(before + NICER, NICEST)
    assert niceness() == before


async def test_what_the_work_raises_is_raised() -> None:
    def work() -> None:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        await Background("work", work).result(30)


async def test_work_that_hangs_is_given_up() -> None:
    ends = threading.Event()
    work = Background("work", ends.wait)
    with pytest.raises(TimeoutError):
        await work.result(0.05)
    ends.set()


async def test_time_without_the_processor_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    held_up, ends = iter([0.0, 60.0, 60.0]), threading.Event()

    def held_up_s(_: Background[bool]) -> float:
        if (seconds := next(held_up)) > 0:
            ends.set()  # the deadline alone has passed
        return seconds

    monkeypatch.setattr(Background, "_held_up_s", held_up_s)
    assert await Background("work", ends.wait).result(0.01)


@linux
async def test_it_is_known_how_long_a_thread_had_to_wait_for_the_processor() -> None:
    ends = threading.Event()

    def work() -> int:
        ends.wait()
        return waited_ns()

    background = Background("work", work)
    first = background._held_up_s()
    ends.set()
    assert first * 1e9 <= await background.result(30)
