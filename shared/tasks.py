"""Tasks that run for ever, and how they end: before Python 3.12, `asyncio.wait_for` (so nats-py) can swallow a cancel.

It does when the answer has come in the same turn of the loop; the task then goes on as if nobody had asked it to end.
"""

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any

CANCELLED_S = 0.5


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for them, again and again until they are done; what they fail of is not raised.

    Whoever cancels this has them cancelled once more, and waits as well.
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


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Run works side by side until all are done; what one fails of is raised, and ends the others.

    Unlike a `TaskGroup`, which cancels its tasks once, this does so until they are done.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        await end(tasks)
