"""Train requests: each ends in exactly one `run.finished` or `run.failed`, and at most one version."""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

from services.trainer.children import Children
from services.trainer.job import Job, Progress, Trained
from services.trainer.settings import TrainerSettings
from shared.bus import Bus, RequestState
from shared.errors import RequestError, TrainingError
from shared.events import RunFailed, RunFinished, RunProgress, RunStarted, TrainRequested
from shared.registry import TAG_BUNDLE, TAG_DATASET, TAG_HOLDOUT, TAG_REQUEST, Registry, Version
from shared.telemetry import logger

log = logger(__name__)


@dataclass(frozen=True)
class Request:
    """A train request with the id that it goes by for ever."""

    id: str
    model: str
    event: TrainRequested


class Requests:
    """Carries requests out. Every step may be repeated: what was done is found in the registry and the bus."""

    def __init__(self, bus: Bus, registry: Registry, children: Children, settings: TrainerSettings) -> None:
        self._bus = bus
        self._registry = registry
        self._children = children
        self._settings = settings

    async def settle(self, request: Request) -> None:
        """Bring a request to its end; an error that passes leaves it to be delivered again."""
        state = await self._bus.request_state(request.id) or RequestState(state="started", model=request.model)
        if state.state == "cancelled":
            return await self._fail(
                request, "cancelled", state.message or "cancelled before it started", state.attempts
            )
        if state.state in {"finished", "failed"}:
            return None
        version = await asyncio.to_thread(self._registry.version_of_request, request.model, request.id)
        if version is not None:  # an earlier attempt got that far
            return await self._finish(request, version)
        return await self._attempt(request, state.attempts + 1)

    async def cancel(self, request_id: str, model: str, message: str) -> None:
        """Remember that a request is not to be carried out, unless it has ended."""
        state = await self._bus.request_state(request_id)
        if state is None or state.state == "started":
            attempts = state.attempts if state else 0
            cancelled = RequestState(state="cancelled", model=model, attempts=attempts, message=message)
            await self._bus.set_request_state(request_id, cancelled)

    async def malformed(self, request_id: str, model: str, message: str, field: str) -> None:
        """End a request that cannot be read."""
        failed = RunFailed(request_id=request_id, kind="malformed", message=message, field=field)
        await self._end(request_id, model, failed)

    async def _attempt(self, request: Request, attempt: int) -> None:
        started = RequestState(state="started", model=request.model, attempts=attempt)
        await self._bus.set_request_state(request.id, started)
        event = request.event
        said = RunStarted(request_id=request.id, attempt=attempt, recipe=event.recipe, dataset=event.dataset)
        await self._bus.publish(said, request.model, event_id=f"{request.id}:started:{attempt}")
        folder = self._settings.trainer_dir.absolute() / request.id
        try:
            await self._train(request, folder)
        except RequestError as error:
            await self._fail(request, "refused", str(error), attempt, error.field)
        except TrainingError as error:
            if self._may_try_again(error, attempt):
                raise
            await self._fail(request, error.kind, str(error), attempt)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _may_try_again(self, error: TrainingError, attempt: int) -> bool:
        return error.kind == "unreachable" or (error.kind == "crashed" and attempt < self._settings.max_attempts)

    async def _train(self, request: Request, folder: Path) -> None:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)

        async def on_progress(progress: Progress) -> None:
            said = RunProgress(request_id=request.id, step=progress.step, of=progress.of, message=progress.message)
            await self._bus.publish(said, request.model)

        trained = await self._children.train(self._job(request, folder), on_progress)
        bundle = await self._bus.put_bundle(trained.archive, trained.digest)
        tags = {
            TAG_REQUEST: request.id,
            TAG_BUNDLE: bundle.model_dump_json(),
            TAG_HOLDOUT: trained.holdout.model_dump_json(),
            TAG_DATASET: trained.dataset,
        }
        version = await asyncio.to_thread(self._register, request, trained, tags)
        await self._finish(request, version)

    def _register(self, request: Request, trained: Trained, tags: dict[str, str]) -> Version:
        return self._registry.register(
            request.model, source=trained.source, run_id=trained.run_id, model_id=trained.model_id, tags=tags
        )

    async def _finish(self, request: Request, version: Version) -> None:
        """Say that a request ended, from what the registry knows of its version."""
        if version.run_id is None or version.bundle is None:
            raise RequestError(f"version {version.version} of {request.model} carries no bundle", field="request_id")
        metrics = await asyncio.to_thread(self._registry.metrics, version.run_id)
        finished = RunFinished(
            request_id=request.id,
            run_id=version.run_id,
            version=version.version,
            metrics=metrics,
            bundle=version.bundle,
            holdout=version.holdout,
        )
        log.info("finished", request=request.id, model=request.model, version=version.version)
        await self._end(request.id, request.model, finished)

    async def _fail(self, request: Request, kind: str, message: str, attempts: int, field: str = "") -> None:
        log.warning("failed", request=request.id, model=request.model, kind=kind, message=message)
        failed = RunFailed(request_id=request.id, kind=kind, message=message, field=field, attempts=attempts)
        await self._end(request.id, request.model, failed)

    async def _end(self, request_id: str, model: str, end: RunFinished | RunFailed) -> None:
        await self._bus.publish(end, model, event_id=f"{request_id}:ended")
        state = RequestState(state="finished" if isinstance(end, RunFinished) else "failed", model=model)
        await self._bus.set_request_state(request_id, state)

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
