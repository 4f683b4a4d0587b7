"""Training in children: each job is a fork of a server process that has imported the heavy libraries already.

A crash, a limit or a cancel touches one job only, and a child never outlives the trainer.
"""

import asyncio
import multiprocessing
import multiprocessing.forkserver
import os
import resource
import threading
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess

from services.trainer.job import Job, Progress, Report, Trained
from shared.errors import BatonError, RequestError, TrainingError, UnreachableError

PRELOADED = ["services.trainer.training", "services.trainer.recipes.builtin"]
LONGEST_MESSAGE = 2000  # characters: a report must fit into a pipe's buffer

OnProgress = Callable[[Progress], Awaitable[None]]


class Children:
    """Runs jobs; several at once if asked to."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._running: dict[ForkServerProcess, str] = {}
        self._cancelled: dict[ForkServerProcess, str] = {}
        self._stopping = False

    @property
    def running(self) -> int:
        """How many jobs run."""
        return len(self._running)

    def warm_up(self) -> None:
        """Start the server process unless it runs; it imports while nobody waits for it."""
        self._context.set_forkserver_preload(PRELOADED)
        multiprocessing.forkserver.ensure_running()

    async def train(self, job: Job, on_progress: OnProgress) -> Trained:
        """Run a job to its end; raise what its child raised, or `TrainingError` with the kind of its failure."""
        receiver, sender = self._context.Pipe(duplex=False)
        child = self._context.Process(target=_child, args=(job, sender), name=f"train-{job.request_id}", daemon=True)
        await asyncio.to_thread(child.start)
        sender.close()  # the child's copy is the last one: its death is the end of the pipe
        self._running[child] = job.request_id
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(child, receiver, on_progress)
        except TimeoutError as error:
            raise TrainingError(f"the training took longer than {self._timeout_s:g} s", kind="timeout") from error
        finally:
            child.kill()
            await asyncio.to_thread(child.join)
            del self._running[child]
            self._cancelled.pop(child, None)
            receiver.close()

    def cancel(self, request_id: str, message: str) -> None:
        """Kill the child of a request, if there is one; `message` is what its `TrainingError` will say."""
        for child in [child for child, identity in self._running.items() if identity == request_id]:
            self._cancelled[child] = message
            child.kill()

    def stop(self) -> None:
        """Kill every child; their requests are to be delivered to another trainer."""
        self._stopping = True
        for child in self._running:
            child.kill()

    async def _follow(self, child: ForkServerProcess, receiver: Connection, on_progress: OnProgress) -> Trained:
        while True:
            report = await _receive(receiver)
            match report:
                case Progress():
                    await on_progress(report)
                case Trained():
                    return report
                case BatonError():
                    raise report
                case None:
                    await asyncio.to_thread(child.join)
                    raise self._ending(child)

    def _ending(self, child: ForkServerProcess) -> BatonError:
        if child in self._cancelled:
            return TrainingError(self._cancelled[child], kind="cancelled")
        if self._stopping:
            return UnreachableError("the trainer stops: another one takes the request over")
        return TrainingError(f"the training's process ended with exit code {child.exitcode}", kind="crashed")


async def _receive(receiver: Connection) -> Report | None:
    """Return the next report, None when the child has died."""
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(receiver.fileno(), readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(receiver.fileno())
    try:
        report: Report = receiver.recv()  # a report is smaller than a pipe's buffer: it is there as a whole
    except (EOFError, OSError):
        return None
    return report


def _child(job: Job, pipe: Connection) -> None:
    """Train, and report how it ended; runs in the forked child."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if job.memory_mb is not None:
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (job.memory_mb * 1024 * 1024, most))
    with suppress(BrokenPipeError):
        pipe.send(_report(job, pipe))


def _report(job: Job, pipe: Connection) -> Report:
    from services.trainer.training import train

    try:
        return train(job, pipe.send)
    except (RequestError, TrainingError, UnreachableError) as error:
        return error
    except MemoryError:
        allowed = f"the {job.memory_mb} MB that are allowed" if job.memory_mb else "there is"
        return TrainingError(f"the training needs more memory than {allowed}")
    except Exception as error:  # whatever a recipe raises
        traceback.print_exc()  # for whoever wrote the recipe, in the trainer's log
        return TrainingError(f"{type(error).__name__}: {error}"[:LONGEST_MESSAGE])


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
