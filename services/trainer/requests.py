"""Train requests: each ends in exactly one `run.finished` or `run.failed`, and at most one version.

Every step may be repeated, by this trainer or by one that takes over: what was done is found in the request's state, in
MLflow, and in the stream, which stores the event that ends a request once.
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from nats.errors import Error as NatsError
from pydantic import BaseModel, ValidationError

from services.trainer.children import Children
from services.trainer.job import Job, Progress, Trained
from services.trainer.settings import TrainerSettings
from shared.bus import Bus, RequestState
from shared.errors import EventError, RegistryError, RequestError, TrainingError, UnreachableError
from shared.events import RequestId, RunFailed, RunFinished, RunProgress, RunStarted, TrainCancelled, TrainRequested
from shared.faults import point
from shared.registry import Registry
from shared.telemetry import logger
from shared.versions import TAG_BUNDLE, TAG_DATASET, TAG_HOLDOUT, TAG_REQUEST, Version

PASSING = (UnreachableError, NatsError, OSError)  # not the request's fault, and over some time
LONGEST_MESSAGE = 2000  # characters; what quotes a user's data may be longer than a message can be

log = logger(__name__)


@dataclass(frozen=True)
class Request:
    """A train request with the id that it goes by for ever."""

    id: str
    model: str
    event: TrainRequested


class Requests:
    """Carries requests out."""

    def __init__(self, bus: Bus, registry: Registry, children: Children, settings: TrainerSettings) -> None:
        self._bus = bus
        self._registry = registry
        self._children = children
        self._settings = settings

    async def settle(self, request: Request) -> RunFinished | RunFailed | None:
        """Bring a request to its end, None if it has ended before; what passes is raised, to be delivered again."""
        state = await self._bus.request_state(request.id) or RequestState(state="started", model=request.model)
        if state.state != "started":
            log.info("ended before", request_id=request.id, model=request.model)
            return None
        attempt = state.attempts + 1
        outcome = state.outcome or await self._outcome(request, attempt)
        await self._end(request.id, request.model, outcome, attempt, again=state.outcome is not None)
        return outcome

    async def cancel(self, cancelled: TrainCancelled) -> None:
        """Remember that a request is not to be carried out."""
        state = RequestState(state="cancelled", model="", message=reason_of(cancelled))
        await self._bus.set_request_state(_cancel_key(cancelled.request_id), state)

    async def malformed(self, request_id: str, model: str, error: EventError) -> None:
        """End a request that cannot be read."""
        state = await self._bus.request_state(request_id)
        if state is None or state.state == "started":
            failed = RunFailed(request_id=request_id, kind="malformed", message=str(error), field=error.field)
            await self._end(request_id, model, failed, attempts=1)

    async def _outcome(self, request: Request, attempt: int) -> RunFinished | RunFailed:
        """Return how a request ends; raise where it may end otherwise next time."""
        await self._count(request, attempt)
        try:
            self._registry.check_name(request.model)
            version = await self._version(request) or await self._attempt(request, attempt)
            return await self._finished(request, version)
        except PASSING:
            await self._count(request, attempt - 1)
            raise
        except (RequestError, RegistryError) as error:
            return _failed(request, "refused", error, attempt, getattr(error, "field", ""))
        except TrainingError as error:
            if error.kind == "crashed" and attempt < self._settings.max_attempts:
                raise
            return _failed(request, error.kind, error, attempt)
        except Exception as error:  # what nobody foresaw: it may pass, but is not tried for ever
            if attempt < self._settings.max_attempts:
                raise
            log.exception("given up", request_id=request.id, model=request.model)
            return _failed(request, "failed", error, attempt)

    async def _count(self, request: Request, attempts: int) -> None:
        started = RequestState(state="started", model=request.model, attempts=attempts)
        await self._bus.set_request_state(request.id, started)

    async def _version(self, request: Request) -> Version | None:
        """Return the version that an earlier attempt, or another trainer, made of the request."""
        return await asyncio.to_thread(self._registry.version_of_request, request.model, request.id)

    async def _attempt(self, request: Request, attempt: int) -> Version:
        """Train and register; whoever registers first is the one who did it."""
        await self._heed_cancel(request)
        if attempt > self._settings.max_attempts:
            raise TrainingError("every attempt ended with the end of the trainer itself", kind="crashed")
        event = request.event
        said = RunStarted(request_id=request.id, attempt=attempt, recipe=event.recipe, dataset=event.dataset)
        await self._bus.publish(said, request.model, event_id=f"{request.id}:started:{attempt}")
        point("trainer.started")
        async with _scratch(self._settings.trainer_dir.absolute(), request.id) as folder:
            trained = await self._train(request, folder)
            point("trainer.trained")
            tags = await self._tags(request, trained)
            point("trainer.stored")
        await self._heed_cancel(request)
        try:
            registered = await asyncio.to_thread(self._register, request, trained, tags)
        except RegistryError:  # another trainer, which took over while this one was paused, may have been first
            version = await self._version(request)
            if version is None:
                raise
            return version
        point("trainer.registered")
        return registered

    async def _heed_cancel(self, request: Request) -> None:
        cancel = await self._bus.request_state(_cancel_key(request.id))
        if cancel is not None:
            raise TrainingError(cancel.message, kind="cancelled")

    async def _train(self, request: Request, folder: Path) -> Trained:
        async def on_progress(progress: Progress) -> None:
            said = RunProgress(request_id=request.id, step=progress.step, of=progress.of, message=progress.message)
            await self._bus.publish(said, request.model)

        return await self._children.train(self._job(request, folder), on_progress)

    async def _tags(self, request: Request, trained: Trained) -> dict[str, str]:
        """Store the bundle; return what a version says of itself."""
        bundle = await self._bus.put_bundle(trained.archive, trained.digest)
        return {
            TAG_REQUEST: request.id,
            TAG_BUNDLE: bundle.model_dump_json(),
            TAG_HOLDOUT: trained.holdout.model_dump_json(),
            TAG_DATASET: trained.dataset,
        }

    def _register(self, request: Request, trained: Trained, tags: dict[str, str]) -> Version:
        """Create the version unless it is there."""
        return self._registry.version_of_request(request.model, request.id) or self._registry.register(
            request.model, source=trained.source, run_id=trained.run_id, model_id=trained.model_id, tags=tags
        )

    async def _finished(self, request: Request, version: Version) -> RunFinished:
        """Return the event that a version ends its request with, from what the registry knows of it."""
        if version.run_id is None or version.bundle is None:
            raise RegistryError(
                f"version {version.version} of {request.model} carries the request's id and no bundle: it was not made "
                "by a trainer, so use another request_id"
            )
        return RunFinished(
            request_id=request.id,
            run_id=version.run_id,
            version=version.version,
            metrics=await asyncio.to_thread(self._registry.metrics, version.run_id),
            bundle=version.bundle,
            holdout=version.holdout,
        )

    async def _end(
        self, request_id: str, model: str, outcome: RunFinished | RunFailed, attempts: int, *, again: bool = False
    ) -> None:
        """Say how a request ended: kept before it is said, so that nobody who takes over says something else."""
        state = RequestState(state="started", model=model, attempts=attempts, outcome=outcome)
        await self._bus.set_request_state(request_id, state)
        point("trainer.noted")
        await self._bus.publish(outcome, model, event_id=f"{request_id}:ended", again=again)
        point("trainer.published")
        ended = state.model_copy(update={"state": "finished" if isinstance(outcome, RunFinished) else "failed"})
        await self._bus.set_request_state(request_id, ended)
        point("trainer.ended")
        log.info(ended.state, request_id=request_id, model=model, **_facts(outcome))

    def _job(self, request: Request, folder: Path) -> Job:
        event, settings = request.event, self._settings
        return Job(
            request_id=request.id,
            model=request.model,
            recipe=event.recipe,
            dataset=event.dataset,
            target=event.target,
            params=event.params,
            seed=event.seed,
            tags=event.tags,
            folder=folder,
            tracking_uri=settings.tracking_uri,
            datasets=settings.datasets,
            data_roots=settings.data_roots,
            recipes_dir=settings.recipes_dir,
            memory_mb=settings.train_memory_mb,
        )


def reason_of(cancelled: TrainCancelled) -> str:
    """Say who cancelled a request, and why."""
    return f"cancelled by {cancelled.actor}" + (f": {cancelled.reason}" if cancelled.reason else "")


def readable_id(body: bytes) -> str | None:
    """Return the request's id from a message that is malformed elsewhere, None if it has none that can be used."""

    class Named(BaseModel):
        request_id: RequestId

    try:
        return Named.model_validate_json(body).request_id
    except ValidationError:
        return None


@asynccontextmanager
async def _scratch(parent: Path, request_id: str) -> AsyncIterator[Path]:
    """Make a folder that no other attempt uses, and remove it afterwards."""
    await asyncio.to_thread(parent.mkdir, parents=True, exist_ok=True)
    folder = await asyncio.to_thread(tempfile.mkdtemp, prefix=f"{request_id}-", dir=parent)
    try:
        yield Path(folder)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _cancel_key(request_id: str) -> str:
    # A key of its own, which no later state of the request can overwrite; no request's id has a slash.
    return f"cancelled/{request_id}"


def _failed(request: Request, kind: str, error: Exception, attempts: int, field: str = "") -> RunFailed:
    return RunFailed(
        request_id=request.id, kind=kind, message=str(error)[:LONGEST_MESSAGE], field=field, attempts=attempts
    )


def _facts(outcome: RunFinished | RunFailed) -> dict[str, str]:
    if isinstance(outcome, RunFinished):
        return {"version": outcome.version}
    return {"kind": outcome.kind, "message": outcome.message}
