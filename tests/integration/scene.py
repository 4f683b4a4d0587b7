"""A model with a champion, and everybody who has a part in it: registry, promoter, predictor, bus, a client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from shared.bus import NatsBus
from shared.event import Event
from shared.events import ModelServing, PromotionDecided
from tests import bundles
from tests.integration.kit import Ear, Versions, listening_to
from tests.integration.predictors import WORKERS, Predictor


@dataclass
class Load:
    """Requests that were asked without pause, and the answers that were not 200."""

    asked: int = 0
    failed: list[str] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)


@dataclass
class Scene:
    """A model with a champion that serves, and everybody who has a part in it."""

    bus: NatsBus
    app: FastAPI
    versions: Versions
    predictor: Predictor
    folder: Path

    @property
    def model(self) -> str:
        return self.versions.model

    def move_alias(self, version: str) -> None:
        self.versions.client.set_registered_model_alias(self.model, "champion", version)

    def champion(self) -> str:
        return str(self.versions.client.get_model_version_by_alias(self.model, "champion").version)

    async def good(self, share: float) -> str:
        return self.versions.plain(await self.bus.put_bundle(*bundles.classifier(self.folder, share)))

    async def history(self) -> list[dict[str, Any]]:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer: list[dict[str, Any]] = (await client.get(f"/models/{self.model}/history?limit=1000")).json()
            return answer

    async def serve(self, version: str) -> None:
        """Make a version champion as MLflow's UI does, and wait until every worker serves it."""
        async with listening_to(self.bus, self.model, ModelServing) as ear:
            await asyncio.to_thread(self.move_alias, version)
            await said(ear, version)

    @asynccontextmanager
    async def load(self) -> AsyncIterator[Load]:
        load, over = Load(), asyncio.Event()

        async def ask() -> None:
            async with httpx.AsyncClient(base_url=self.predictor.url, timeout=10) as client:
                while not over.is_set():
                    answer = await client.post(f"/models/{self.model}/predict", json={"x": 1})
                    load.asked += 1
                    if answer.status_code == 200:
                        load.versions.add(answer.json()["version"])
                    else:
                        load.failed.append(answer.text)

        asking = asyncio.create_task(ask())
        try:
            yield load
        finally:
            over.set()
            await asking


async def said(ear: Ear, version: str) -> None:
    """Wait until every worker serves a version."""
    workers: set[int] = set()
    async with asyncio.timeout(30):
        while len(workers) < WORKERS:
            _note(await ear.next(), version, workers)


async def taken_back(ear: Ear, version: str, within_s: float = 60) -> PromotionDecided:
    """Wait for the decision to go back to a version and until every worker serves it; which comes first is open.

    The predictors follow the commit, and the decision is published after it.
    """
    workers: set[int] = set()
    decided: PromotionDecided | None = None
    async with asyncio.timeout(within_s):
        while decided is None or len(workers) < WORKERS:
            event = await ear.next()
            _note(event, version, workers)
            decided = event if isinstance(event, PromotionDecided) else decided
    return decided


def _note(event: Event, version: str, workers: set[int]) -> None:
    if isinstance(event, ModelServing) and event.version == version:
        workers.add(event.worker)
