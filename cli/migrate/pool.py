"""Batches carried out side by side, a few at a time, so that memory does not grow with the store."""

import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from cli.migrate.batch import Batch, Outcome, Work, carry_out, start
from shared.errors import BatonError


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
                waiting.add(self._executor.submit(carry_out, batch))
                if len(waiting) > 2 * self._processes:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            for future in waiting:
                yield future.result()
        except BrokenProcessPool as error:
            raise BatonError("a process that migrates was ended from outside: run the same command again") from error
