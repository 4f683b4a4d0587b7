"""Threads that nobody waits for in the end: at most so many, used again, and nothing of their work stays behind."""

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from services.predictor.threads import Threads
from tests.unit.predictor.conftest import until

HANGS = """
import asyncio, sys, threading
from services.predictor.threads import Threads
async def main():
    begun = threading.Event()
    def hang():
        begun.set()
        threading.Event().wait()
    hanging = asyncio.create_task(Threads(1, "t").run(hang))
    await asyncio.to_thread(begun.wait)
    hanging.cancel()
asyncio.run(main())
"""


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads(3, "these")
    yield made
    made.close()


def living() -> int:
    return sum(thread.name.startswith("these_") for thread in threading.enumerate())


def test_work_that_never_returns_keeps_no_process_from_ending() -> None:
    subprocess.run([sys.executable, "-c", HANGS], check=True, timeout=30)


async def test_there_are_as_many_as_are_needed_and_no_more(threads: Threads) -> None:
    for _ in range(5):
        assert await threads.run(len, "one") == 3
    assert living() <= 2, "one is idle again, or just about to be"
    release = threading.Event()
    waiting = [asyncio.create_task(threads.run(release.wait, 30)) for _ in range(7)]
    await until(lambda: living() == 3, "all of them")
    release.set()
    assert await asyncio.gather(*waiting) == [True] * 7
    assert living() == 3


async def test_what_work_raises_is_raised(threads: Threads) -> None:
    with pytest.raises(ZeroDivisionError):
        await threads.run(divmod, 1, 0)
    assert await threads.run(divmod, 7, 2) == (3, 1)


async def test_what_nobody_waits_for_any_more_is_not_begun(threads: Threads) -> None:
    release, begun = threading.Event(), list[int]()
    holding = [asyncio.create_task(threads.run(release.wait, 30)) for _ in range(3)]
    late = asyncio.create_task(threads.run(begun.append, 1))
    await asyncio.wait([late], timeout=0.01)
    late.cancel()
    await asyncio.wait([late])
    release.set()
    await asyncio.gather(*holding)
    await threads.run(len, "what comes after it")
    assert begun == []


async def test_closed_they_end_and_begin_nothing_that_waits(threads: Threads) -> None:
    release, busy, begun = threading.Event(), list[int](), list[int]()

    def hold() -> bool:
        busy.append(1)
        return release.wait(30)

    holding = [asyncio.create_task(threads.run(hold)) for _ in range(3)]
    late = asyncio.create_task(threads.run(begun.append, 1))
    await until(lambda: len(busy) == 3, "all to be busy")
    threads.close()
    with pytest.raises(asyncio.CancelledError):
        await late
    release.set()
    assert await asyncio.gather(*holding) == [True] * 3
    await until(lambda: living() == 0, "their end")
    assert begun == []


class Model:
    """Answers, or fails."""

    def answer(self) -> int:
        return 1

    def fail(self) -> int:
        raise ValueError


@pytest.mark.parametrize("work", [Model.answer, Model.fail])
async def test_an_idle_thread_keeps_nothing_of_what_it_did(threads: Threads, work: Callable[[Model], int]) -> None:
    gc.disable()  # what is in a cycle would go with the next collection
    try:
        model = Model()
        gone = weakref.ref(model)
        with suppress(ValueError):
            await threads.run(work, model)
        del model
        await until(lambda: gone() is None, "the model to be gone")
    finally:
        gc.enable()


async def test_where_no_thread_can_be_begun_there_are_some_again_later(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        for _ in range(4):
            with pytest.raises(RuntimeError, match="new thread"):
                await threads.run(len, "one")
    assert await threads.run(len, "three") == 5
