"""The workers of one predictor: who they are, and which of them are ready."""

import itertools
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import IO

from shared.locks import is_held, take

READY = "ready"
PATIENCE_S = 2.0


class Seat:
    """A worker's index: the first lock file that nobody holds. The kernel frees it when the worker dies."""

    def __init__(self, index: int, file: IO[str]) -> None:
        self.index = index
        self.ready = False
        self._file = file

    def say_ready(self) -> None:
        """Let the other workers know that this one answers."""
        if not self.ready:
            self.ready = True
            self._file.write(READY)
            self._file.flush()

    def leave(self) -> None:
        """Free the index."""
        self.ready = False
        self._file.close()


def take_seat(folder: Path, workers: int) -> Seat:
    """Take the first free index below `workers`; a higher one only if those stay taken."""
    folder.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + PATIENCE_S
    for index in itertools.chain.from_iterable(range(workers) for _ in iter(lambda: time.monotonic() < ends, False)):
        if seat := _try(folder, index):
            return seat
        time.sleep(0.02)  # held by a worker that is just dying, or by one that looks who is ready
    return next(seat for index in itertools.count(workers) if (seat := _try(folder, index)))


def _try(folder: Path, index: int) -> Seat | None:
    file = (folder / f"{index}.lock").open("a+")
    if not take(file):
        file.close()
        return None
    file.truncate(0)
    return Seat(index, file)


def ready_workers(folder: Path, own: Seat) -> int:
    """Return how many workers are alive and ready."""
    return sum(_is_ready(path, own) for path in folder.glob("*.lock"))


def _is_ready(path: Path, own: Seat) -> bool:
    with path.open("r+") as file:
        if path.stem != str(own.index) and not is_held(file):
            return False  # that worker is gone
        return file.read() == READY


def end_with_parent() -> None:
    """End this worker, finishing what it is doing, when the process that started it dies."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
