"""Work in the background: within a deadline that a busy processor does not shorten, and with little priority."""

import asyncio
import gc
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from services.predictor.background import NICER, NICEST, Background, give_way
from tests.unit.predictor.conftest import niceness, of_threads


def waited_ns() -> int:
    return int(Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text().split()[1])


def nicer() -> int:
    give_way()
    return niceness()


@of_threads
async def test_only_the_thread_that_asks_gives_way() -> None:
    before = niceness()
    assert await Background("work", nicer).result(30) == min(before + NICER, NICEST)
    assert niceness() == before


@of_threads
async def test_who_may_not_give_way_works_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", forbidden)
    assert await Background("work", nicer).result(30) == niceness()


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


@pytest.mark.parametrize("deadline_s", [0.05, 30])
async def test_nobody_hears_what_becomes_of_work_that_was_given_up(deadline_s: float) -> None:
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    ends = threading.Event()

    def work() -> None:
        ends.wait()
        raise LookupError

    background = Background("work", work)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await background.result(deadline_s)
    ends.set()
    await asyncio.to_thread(background._thread.join)
    await asyncio.sleep(0)
    del background  # asyncio speaks of what nobody asked for when nobody can ask any more
    gc.collect()
    assert not said


async def test_time_without_the_processor_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    held_up, ends = iter([0.0, 60.0, 60.0]), threading.Event()

    def held_up_s(_: Background[bool]) -> float:
        if (seconds := next(held_up)) > 0:
            ends.set()  # the deadline alone has passed
        return seconds

    monkeypatch.setattr(Background, "_held_up_s", held_up_s)
    assert await Background("work", ends.wait).result(0.01)


@of_threads
async def test_it_is_known_how_long_a_thread_had_to_wait_for_the_processor() -> None:
    runs, ends = threading.Event(), threading.Event()
    before: list[int] = []

    def work() -> int:
        while not waited_ns():
            threading.Event().wait(0.001)  # each time it is woken, it waits a little
        before.append(waited_ns())
        runs.set()
        ends.wait()
        return waited_ns()

    background = Background("work", work)
    await asyncio.to_thread(runs.wait, 30)
    found = round(background._held_up_s() * 1e9)
    ends.set()
    assert 0 < before[0] <= found <= await background.result(30)
