"""The demo's story: a first champion, a better challenger, a worse one, and a hand that moves the alias back."""

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from cli.demo.load import Load, running
from cli.demo.report import Promotion, Report
from cli.journal import Journal
from cli.sentences import metrics
from compose.local.child import environment
from shared.bus import NatsBus
from shared.errors import BatonError
from shared.events import ModelPromoted, ModelServing, PromotionDecided, RunFailed, RunFinished, TrainRequested

MODEL = DATASET = "heart-disease"
PATIENT = {
    "age": 63, "sex": 1, "cp": 3, "trestbps": 145, "chol": 233, "fbs": 1, "restecg": 0,
    "thalach": 150, "exang": 0, "oldpeak": 2.3, "slope": 0, "ca": 0, "thal": 1,
}  # fmt: skip
FIRST = ("random-forest", {"n_estimators": 5, "max_depth": 1})
BETTER = ("logistic-regression", {"C": 0.1})
WORSE = ("random-forest", {"n_estimators": 1, "max_depth": 1})

Say = Callable[[str], None]
MoveAlias = Callable[[str, str], Awaitable[None]]


class Story:
    """The steps of the demo on a running stack; `say` prints a line as it happens."""

    def __init__(self, bus: NatsBus, journal: Journal, predictor: str, workers: int, say: Say) -> None:
        self._bus = bus
        self._journal = journal
        self._predict_url = f"{predictor}/predict"
        self._workers = workers
        self._say = say

    async def tell(self, tracking_uri: str, report: Report) -> None:
        """Tell the whole story and write down what was seen."""
        await self._begin_afresh()
        first = await self._champion("a first champion", *FIRST)
        report.prediction = await self._predict()
        async with running(Load(self._predict_url, PATIENT)) as load, outsider(tracking_uri) as move_alias:
            await self._champion("a better challenger, while requests run", *BETTER)
            report.refused.append(await self._refusal("a worse challenger", *WORSE))
            await self._moved_back(first, move_alias)
        report.requests, report.failed = load.requests, len(load.failures)
        report.versions = dict(sorted(load.versions.items()))
        report.promotions = self._promotions()

    async def _begin_afresh(self) -> None:
        if await self._bus.last(ModelPromoted, MODEL) is not None:
            raise BatonError(f"the demo begins without a champion, and {MODEL} has had one: choose another --data-dir")

    async def _moved_back(self, version: str, move_alias: MoveAlias) -> None:
        self._say(f"somebody moves the alias back to version {version} with MLflow's own client")
        changes = len(self._journal.of(ModelPromoted)) + 1
        await move_alias(MODEL, version)
        await self._served(version, changes)

    async def _champion(self, what: str, recipe: str, params: dict[str, Any]) -> str:
        changes = len(self._journal.of(ModelPromoted)) + 1
        decided = await self._train(what, recipe, params)
        if decided.verdict != "promoted":
            raise BatonError(f"the demo expected version {decided.version} to be promoted: {decided.reason}")
        await self._served(decided.version, changes)
        return decided.version

    async def _refusal(self, what: str, recipe: str, params: dict[str, Any]) -> dict[str, str]:
        decided = await self._train(what, recipe, params)
        if decided.verdict != "refused":
            raise BatonError(f"the demo expected version {decided.version} to be refused: {decided.reason}")
        return {"version": decided.version, "reason": decided.reason}

    async def _train(self, what: str, recipe: str, params: dict[str, Any]) -> PromotionDecided:
        """Request a training and wait for the promoter's decision."""
        self._say(f"training {what}: {recipe} {params}")
        request_id = str(uuid.uuid4())
        request = TrainRequested(recipe=recipe, dataset=DATASET, params=params, request_id=request_id)
        await self._bus.publish(request, MODEL, event_id=request_id)
        ended: RunFinished | RunFailed = await self._journal.until(
            lambda: self._end_of(request_id), f"the end of the training of {recipe}"
        )
        if isinstance(ended, RunFailed):
            raise BatonError(f"the training failed ({ended.kind}): {ended.message}")
        self._say(f"  version {ended.version} trained: {metrics(ended.metrics)}")
        decided = await self._journal.until(lambda: self._decision_on(request_id), "the promoter's decision")
        self._say(f"  {decided.verdict}: {decided.reason}")
        return decided

    def _end_of(self, request_id: str) -> RunFinished | RunFailed | None:
        ends: list[RunFinished | RunFailed] = [*self._journal.of(RunFinished), *self._journal.of(RunFailed)]
        return next((end for end in ends if end.request_id == request_id), None)

    def _decision_on(self, request_id: str) -> PromotionDecided | None:
        return next((d for d in self._journal.of(PromotionDecided) if d.request_id == request_id), None)

    async def _served(self, version: str, changes: int) -> None:
        """Wait until the newest of so many promotions is served by every worker."""
        promoted = await self._journal.until(
            lambda: self._journal.of(ModelPromoted)[changes - 1 : changes] or None,
            f"the promotion of version {version}",
        )
        generation = promoted[0].generation
        serving = await self._journal.until(lambda: self._all_serve(generation), "every worker to serve it")
        delays = ", ".join(f"{event.delay_ms:.1f} ms on worker {event.worker}" for event in serving)
        self._say(f"  version {version} serves: {delays} after the commit (by {promoted[0].actor})")

    def _all_serve(self, generation: int) -> list[ModelServing] | None:
        latest = {e.worker: e for e in self._journal.of(ModelServing) if e.generation == generation}
        return [latest[worker] for worker in sorted(latest)] if len(latest) == self._workers else None

    async def _predict(self) -> dict[str, Any]:
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            answer = await client.post(self._predict_url, json=PATIENT)
        answer.raise_for_status()
        prediction: dict[str, Any] = answer.json()
        self._say(f"  POST /predict answers {prediction}")
        return prediction

    def _promotions(self) -> list[Promotion]:
        serving = self._journal.of(ModelServing)
        return [
            Promotion(
                version=promoted.version,
                by=promoted.actor,
                reason=promoted.reason,
                delay_ms={str(s.worker): round(s.delay_ms, 2) for s in serving if s.generation == promoted.generation},
            )
            for promoted in self._journal.of(ModelPromoted)
        ]


@asynccontextmanager
async def outsider(tracking_uri: str) -> AsyncIterator[MoveAlias]:
    """Start somebody outside Baton with MLflow's client; yield a function that makes them move the alias."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.demo.outsider",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env=environment(MLFLOW_TRACKING_URI=tracking_uri),
    )  # fmt: skip
    to_child, from_child = child.stdin, child.stdout
    if to_child is None or from_child is None:
        raise BatonError("the pipes to MLflow's client are missing")

    async def move_alias(model: str, version: str) -> None:
        to_child.write(f"{model} {version}\n".encode())
        await to_child.drain()
        if await asyncio.wait_for(from_child.readline(), 60) != b"done\n":
            raise BatonError("MLflow's client could not move the alias")

    try:
        yield move_alias
    finally:
        to_child.close()
        await child.wait()
