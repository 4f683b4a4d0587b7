"""Batches carried out side by side, a few at a time, so that memory does not grow with the store."""

import multiprocessing
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker

from cli.migrate.batch import Batch, Outcome, Work, carry_out, start
from shared.errors import BatonError


@contextmanager
def deaf() -> Iterator[None]:
    """Have processes that begin meanwhile never hear Ctrl-C, not even before their first line; this one hears it later.

    It is the migration's to hear, which lets batches end; Python would say where each process was.
    """
    resource_tracker.ensure_running()  # whose own start would have Ctrl-C heard again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Pool:
    """Processes that carry out batches; a context manager, which ends them."""

    def __init__(self, work: Work, processes: int) -> None:
        self._processes = processes
        self._executor = ProcessPoolExecutor(
            processes, mp_context=multiprocessing.get_context("spawn"), initializer=start, initargs=(work,)
        )

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(cancel_futures=True)

    def run(self, batches: Iterable[Batch]) -> Iterator[Outcome]:
        """Yield what each batch did, in the order in which they end."""
        waiting: set[Future[Outcome]] = set()
        try:
            for batch in batches:
                with deaf():  # this may begin a process
                    waiting.add(self._executor.submit(carry_out, batch))
                if len(waiting) > 2 * self._processes:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            for future in waiting:
                yield future.result()
        except BrokenProcessPool as error:
            raise BatonError("a process that migrates was ended from outside: run the same command again") from error
