"""Training in children: each job is a fork of a server process that has imported the heavy libraries already.

A crash, a limit or a cancel touches one job only, and a child never outlives the trainer.
"""

import asyncio
import multiprocessing
import multiprocessing.forkserver
import os
import resource
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess

from services.trainer.job import Failed, Job, Progress, Report, Trained
from shared.errors import BatonError, RequestError, TrainingError

PRELOADED = ["services.trainer.training"]

OnProgress = Callable[[Progress], Awaitable[None]]


class Children:
    """Runs jobs; several at once if asked to."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        self._running: dict[str, ForkServerProcess] = {}
        self._cancelled: set[str] = set()

    def warm_up(self) -> None:
        """Start the server process, which imports while nobody waits for it."""
        multiprocessing.forkserver.ensure_running()

    async def train(self, job: Job, on_progress: OnProgress) -> Trained:
        """Run a job to its end; raise `RequestError`, or `TrainingError` with the kind of its failure."""
        receiver, sender = self._context.Pipe(duplex=False)
        child = self._context.Process(target=_child, args=(job, sender), name=f"train-{job.request_id}", daemon=True)
        await asyncio.to_thread(child.start)
        sender.close()  # the child's copy is the last one: its death is the end of the pipe
        self._running[job.request_id] = child
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(job, child, receiver, on_progress)
        except TimeoutError as error:
            raise TrainingError(f"the training took longer than {self._timeout_s:.0f} s", kind="timeout") from error
        finally:
            child.kill()
            await asyncio.to_thread(child.join)
            self._running.pop(job.request_id, None)
            self._cancelled.discard(job.request_id)
            receiver.close()

    def cancel(self, request_id: str) -> bool:
        """Kill the child of a request; return whether there was one."""
        child = self._running.get(request_id)
        if child is None:
            return False
        self._cancelled.add(request_id)
        child.kill()
        return True

    def stop(self) -> None:
        """Kill every child."""
        for child in self._running.values():
            child.kill()

    async def _follow(
        self, job: Job, child: ForkServerProcess, receiver: Connection, on_progress: OnProgress
    ) -> Trained:
        while True:
            report = await _receive(receiver)
            match report:
                case Progress():
                    await on_progress(report)
                case Trained():
                    return report
                case Failed(refused=True):
                    raise RequestError(report.message, report.field)
                case Failed():
                    raise TrainingError(report.message, report.kind)
                case None:
                    await asyncio.to_thread(child.join, 5)
                    raise self._ending(job, child)

    def _ending(self, job: Job, child: ForkServerProcess) -> TrainingError:
        if job.request_id in self._cancelled:
            return TrainingError("the training was cancelled", kind="cancelled")
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
        report: Report = receiver.recv()  # a report is far smaller than a pipe's buffer: it is there as a whole
    except (EOFError, OSError):
        return None
    return report


def _child(job: Job, pipe: Connection) -> None:
    """Train, and report how it ended; runs in the forked child."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if job.memory_mb is not None:
        limit = job.memory_mb * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    from services.trainer.training import train

    report: Report
    try:
        report = train(job, pipe.send)
    except RequestError as error:
        report = Failed("refused", str(error), error.field, refused=True)
    except TrainingError as error:
        report = Failed(error.kind, str(error))
    except MemoryError:
        report = Failed("failed", f"the training needs more than the {job.memory_mb} MB of memory that are allowed")
    except BatonError as error:
        report = Failed("unreachable", str(error))
    except Exception as error:  # whatever a recipe raises
        report = Failed("failed", f"{type(error).__name__}: {error}")
    with suppress(BrokenPipeError):
        pipe.send(report)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
