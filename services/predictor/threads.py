"""A few threads that are used again and again, and for which the process does not wait when it ends."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

Task = tuple[Future[Any], Callable[[], Any]]


class Threads:
    """At most `most` threads, each begun when no other is idle; one event loop gives them their work.

    They are what `ThreadPoolExecutor` is, except that the interpreter joins that one's threads at its end: work that
    never returns, which a model may be, would keep a worker that was told to end from ending.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._begun = 0

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the work returns; raise what it raises. Whoever stops waiting before it begins is left out."""
        return await asyncio.wrap_future(self._result(partial(work, *args, **kwargs)))

    def _result(self, work: Callable[[], T]) -> "Future[T]":
        if not self._idle.acquire(blocking=False) and self._begun < self._most:
            self._begin()
        result: Future[T] = Future()
        self._tasks.put((result, work))
        return result

    def _begin(self) -> None:
        try:
            threading.Thread(target=self._serve, name=f"{self._name}_{self._begun + 1}", daemon=True).start()
        except RuntimeError:  # the host has no more of them for now: those that there are take it
            if not self._begun:
                raise
        else:
            self._begun += 1

    def close(self) -> None:
        """Begin nothing more; what runs goes on until it returns, or the process ends."""
        with suppress(Empty):
            while task := self._tasks.get_nowait():
                task[0].cancel()
        for _ in range(self._begun):
            self._tasks.put(None)

    def _serve(self) -> None:
        while _done(self._tasks.get()):
            self._idle.release()


def _done(task: Task | None) -> bool:
    """Do a task, of which nothing is kept afterwards; return False if there is none any more."""
    if task is None:
        return False
    result, work = task
    if result.set_running_or_notify_cancel():
        try:
            result.set_result(work())
        except BaseException as error:  # whatever it is, it is for who waits
            result.set_exception(error)
    del task, result, work  # else an error, by its traceback, would keep them until a garbage collection
    return True
