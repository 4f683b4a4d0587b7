"""Tasks that run for ever, and how they end: to cancel them once is not enough.

Before Python 3.12 `asyncio.wait_for`, and so nats-py, swallows a cancel that comes in the same turn of the loop as the
answer; the task then goes on as if nobody had asked it to end.
"""

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any, TypeVar

CANCELLED_S = 0.5

T = TypeVar("T")


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for them, again and again until they are done; what they fail of is not raised.

    So what they clean up, too, is cancelled where it takes longer than half a second. Whoever cancels this has them
    cancelled once more, and waits as well.
    """
    ending = pending = {*tasks}
    cancelled: asyncio.CancelledError | None = None
    while pending:
        for task in pending:
            task.cancel()
        try:
            _, pending = await asyncio.wait(pending, timeout=CANCELLED_S)
        except asyncio.CancelledError as error:
            cancelled = error
    for task in ending:
        if not task.cancelled():
            task.exception()  # lest the loop complain that nobody asked
    if cancelled:
        raise cancelled


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Return what a work returns; raise `TimeoutError` if that takes longer, once the work has ended.

    Unlike `asyncio.timeout`, which cancels once.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task], timeout=seconds)
        if task.done():
            return task.result()
    finally:
        await end([task])
    raise TimeoutError


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Run works side by side until all are done; what one fails of is raised, and ends the others.

    Unlike a `TaskGroup`, which cancels its tasks once, this does so until they are done; and one that ends as if it had
    been cancelled, though nobody did, has failed: `RuntimeError`.
    """
    if not works:
        return
    tasks = [asyncio.create_task(_uncancelled(work)) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await end(tasks)
    for task in done:
        task.result()


async def _uncancelled(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or not task.cancelling():
            raise RuntimeError("a task that nobody cancelled says that it was") from error
        raise
