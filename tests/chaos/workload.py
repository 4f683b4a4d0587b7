"""The work that goes on all the while: train requests, and promotions by people who know nothing of Baton, or do."""

import asyncio
import os
import random
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from shared.bus import NatsBus
from shared.errors import UnreachableError
from shared.event import Event
from shared.events import PromotionRequested, TrainRequested
from shared.versions import CHAMPION, TAG_BUNDLE, TAG_REQUEST
from tests.chaos.journal import Journal

REQUEST_EVERY_S = 10.0
COMMAND_EVERY_S = 3.0
OUTSIDER_EVERY_S = 1.0
POLL_S = 0.5
MOST_COPIES = 4  # each is bundled in a child process, which takes seconds

OUTSIDE = {"move": 6, "raise": 3, "delete": 1, "copy": 1}
COMMANDS = {"promote": 5, "rollback": 2, "unfreeze": 2, "auto": 2}


class Workload:
    """Asks for trainings and promotions of a few models until cancelled, and remembers what it asked for."""

    def __init__(self, bus: NatsBus, mlflow: str, seed: int, journal: Journal) -> None:
        self.models = [f"heart {seed} {letter}" for letter in "abc"]
        self.requests: list[str] = []
        self.commands: list[str] = []
        self.tally: Counter[str] = Counter()
        self._bus = bus
        os.environ |= {
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
        }  # or it waits minutes
        self._client = MlflowClient(mlflow, mlflow)
        self._chance = random.Random(f"work {seed}")
        self._journal = journal

    async def run(self) -> None:
        """Work until cancelled; what was begun with the bus is brought to an end, for its outcome must be known."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._regularly(REQUEST_EVERY_S, self._request))
            tasks.create_task(self._regularly(COMMAND_EVERY_S, self._command))
            tasks.create_task(self._regularly(OUTSIDER_EVERY_S, self._outside))

    async def first_versions(self, deadline_s: float) -> None:
        """Have a version of each model trained, so that there is something to promote from the start."""
        for model in self.models:
            await self._train(model)
        ends = time.monotonic() + deadline_s
        while missing := [model for model in self.models if not await self._some_version(model)]:
            if time.monotonic() > ends:
                raise TimeoutError(f"waited {deadline_s:.0f} s in vain for a first version of {', '.join(missing)}")
            await asyncio.sleep(POLL_S)

    async def _request(self) -> None:
        await self._train(self._model())

    async def _train(self, model: str) -> None:
        """Ask for one fast training."""
        request = str(uuid.uuid4())
        self.requests.append(request)
        params = {"C": self._chance.choice([0.001, 0.01, 0.1, 1.0, 10.0])}
        event = TrainRequested(recipe="logistic-regression", dataset="heart-disease", params=params, request_id=request)
        await self._publish(event, model, request)

    async def _regularly(self, every_s: float, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            doing = asyncio.ensure_future(act())
            try:
                await asyncio.shield(doing)
            except asyncio.CancelledError:
                await doing
                raise
            await asyncio.sleep(self._chance.uniform(0, 2 * every_s))

    async def _publish(self, event: Event, model: str, event_id: str) -> None:
        """Publish until it is acknowledged, however long NATS is away."""
        while True:
            try:
                await self._bus.publish(event, model, event_id=event_id)
            except UnreachableError:
                continue
            self._journal.note(f"-- {event.type} {model} {event_id}")
            return

    async def _command(self) -> None:
        identity, model, action = str(uuid.uuid4()), self._model(), self._one_of(COMMANDS)
        version = {"promote": await self._some_version(model), "rollback": "previous", "auto": "auto"}.get(action, "")
        if action == "promote" and not version:
            return
        self.commands.append(identity)
        kind = "promote" if action == "auto" else action
        event = PromotionRequested.model_validate({"action": kind, "version": version, "actor": "chaos"})
        await self._publish(event, model, identity)

    async def _outside(self) -> None:
        """Use MLflow as a notebook does; a call that fails may have been committed, and the witness knows."""
        act, model = self._one_of(OUTSIDE), self._model()
        version = await self._some_version(model)
        if not version or (act == "copy" and self.tally["copy"] >= MOST_COPIES):
            return
        self.tally[act] += 1
        acts = {"move": self._move, "raise": self._raise, "delete": self._delete, "copy": self._copy}
        try:
            await asyncio.to_thread(acts[act], model, version)
        except MlflowException as error:
            self._journal.note(f"-- {act} {model} {version} failed: {error.message[:200]}")
        else:
            self._journal.note(f"-- {act} {model} {version}")

    def _move(self, model: str, version: str) -> None:
        self._client.set_registered_model_alias(model, CHAMPION, version)

    def _raise(self, model: str, version: str) -> None:
        archive = self._chance.random() < 0.7
        self._client.transition_model_version_stage(model, version, "Production", archive_existing_versions=archive)

    def _delete(self, model: str, _: str) -> None:
        self._client.delete_registered_model_alias(model, CHAMPION)

    def _copy(self, model: str, version: str) -> None:
        """Register a version's model again as plain MLflow code does, with nothing of Baton's on it, and promote it."""
        original = self._client.get_model_version(model, version)
        tags = {key: value for key, value in original.tags.items() if key not in (TAG_REQUEST, TAG_BUNDLE)}
        source = str(original.source)
        logged = source.partition("/models/")[2].partition("/")[0]  # MLflow does not tell the id otherwise
        made = self._client.create_model_version(model, source, run_id=original.run_id, tags=tags, model_id=logged)
        self._client.set_registered_model_alias(model, CHAMPION, made.version)

    async def _some_version(self, model: str) -> str:
        try:
            found = await asyncio.to_thread(self._client.search_model_versions, f"name = '{model}'")
        except MlflowException:
            return ""
        return str(self._chance.choice(found).version) if found else ""

    def _model(self) -> str:
        return self._chance.choice(self.models)

    def _one_of(self, weights: dict[str, int]) -> str:
        return self._chance.choices(list(weights), list(weights.values()))[0]
