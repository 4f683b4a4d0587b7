"""Tasks that run for ever, and how they end."""

import asyncio
import gc
from typing import Any

import pytest

from shared.tasks import end, together, within


class Stubborn:
    """Work that goes on after as many cancels as it swallows."""

    def __init__(self, swallows: int) -> None:
        self.cancels = 0
        self.begun = asyncio.Event()
        self._swallows = swallows

    async def run(self) -> None:
        while True:
            try:
                self.begun.set()
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancels += 1
                if self.cancels > self._swallows:
                    raise


async def fail() -> None:
    raise LookupError("lost")


async def nothing() -> None:
    pass


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.tasks.CANCELLED_S", 0.01)


async def test_what_swallows_a_cancel_is_cancelled_again() -> None:
    work = Stubborn(2)
    task = asyncio.create_task(work.run())
    await work.begun.wait()
    async with asyncio.timeout(10):
        await end([task])
    assert (task.cancelled(), work.cancels) == (True, 3)


async def test_what_takes_too_long_ends_however_many_cancels_it_swallows() -> None:
    work = Stubborn(2)
    async with asyncio.timeout(10):
        with pytest.raises(TimeoutError):
            await within(0.01, work.run())
    assert work.cancels == 3


async def test_what_is_done_in_time_returns_or_raises() -> None:
    async def seven() -> int:
        return 7

    assert await within(10, seven()) == 7
    with pytest.raises(LookupError, match="lost"):
        await within(10, fail())


async def test_who_stops_waiting_ends_what_was_waited_for() -> None:
    work = Stubborn(1)
    waiting = asyncio.create_task(within(60, work.run()))
    await work.begun.wait()
    async with asyncio.timeout(10):
        await end([waiting])
    assert (waiting.cancelled(), work.cancels) == (True, 2)


async def test_what_runs_together_hands_on_every_cancel() -> None:
    works = [Stubborn(0), Stubborn(2)]
    task = asyncio.create_task(together(*(work.run() for work in works)))
    await asyncio.gather(*(work.begun.wait() for work in works))
    async with asyncio.timeout(10):
        await end([task])
    assert (task.cancelled(), [work.cancels for work in works]) == (True, [1, 3])


async def test_what_runs_together_ends_also_if_it_is_cancelled_only_once() -> None:
    works = [Stubborn(1), Stubborn(2)]
    task = asyncio.create_task(together(*(work.run() for work in works)))
    await asyncio.gather(*(work.begun.wait() for work in works))
    task.cancel()
    async with asyncio.timeout(10):
        await asyncio.wait([task])
    assert (task.cancelled(), [work.cancels for work in works]) == (True, [2, 3])


async def test_whoever_waits_for_an_end_is_cancelled_after_it() -> None:
    work = Stubborn(3)
    task = asyncio.create_task(work.run())
    await work.begun.wait()
    ending = asyncio.create_task(end([task]))
    await asyncio.sleep(0)
    ending.cancel()
    async with asyncio.timeout(10):
        await asyncio.wait([ending])
    assert (ending.cancelled(), task.cancelled(), work.cancels) == (True, True, 4)


async def test_a_work_that_ends_as_if_somebody_had_cancelled_it_has_failed() -> None:
    async def give_up() -> None:
        raise asyncio.CancelledError

    work = Stubborn(0)
    async with asyncio.timeout(10):
        with pytest.raises(RuntimeError, match="nobody cancelled"):
            await together(work.run(), give_up())
    assert work.cancels == 1


async def test_what_one_fails_of_is_raised_and_ends_the_others() -> None:
    work = Stubborn(1)

    async def fail_later() -> None:
        await work.begun.wait()
        await fail()

    async with asyncio.timeout(10):
        with pytest.raises(LookupError, match="lost"):
            await together(work.run(), fail_later())
    assert work.cancels == 2


async def test_what_comes_to_an_end_by_itself_waits_for_the_others() -> None:
    async with asyncio.timeout(10):
        await together(nothing(), nothing())


async def test_nobody_complains_of_what_fails_as_it_is_ended() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))

    async def clean_up_badly() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await fail()

    task = asyncio.create_task(clean_up_badly())
    await asyncio.sleep(0)
    await end([task])
    del task
    gc.collect()
    assert complaints == []
