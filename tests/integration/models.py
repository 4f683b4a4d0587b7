"""A model whose champions a test publishes itself, as trainer and relay would."""

import asyncio
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from shared.bus import NatsBus
from shared.event import Event, Stream
from shared.events import BundleRef, ModelPromoted, ModelServing, ModelWithdrawn, RunFinished
from shared.follow import follow
from tests import bundles
from tests.integration.predictors import WORKERS

Said = TypeVar("Said", bound=Event)


class Model:
    """A model of one test: publishes what trainer and relay would, and hears what the predictors say of it."""

    def __init__(self, bus: NatsBus, folder: Path) -> None:
        self.name = f"model-{uuid.uuid4()}"
        self.shares: dict[str, float] = {}
        self._bus = bus
        self._folder = folder
        self._generation = 0

    async def bundle(self, share: float, **changed: float) -> BundleRef:
        return await self._bus.put_bundle(*bundles.classifier(self._folder, share, **changed))

    async def finish(self, ref: BundleRef) -> None:
        run = RunFinished(request_id="r", run_id="r", version="0", metrics={}, bundle=ref)
        await self._bus.publish(run, self.name)

    async def promote(self, ref: BundleRef, share: float, expected_last: int | None = None) -> str:
        self._generation += 1
        version = str(self._generation)
        self.shares[version] = share
        promoted = ModelPromoted(version=version, bundle=ref, **self._change())
        await self._bus.publish(promoted, self.name, expected_last=expected_last)
        return version

    async def withdraw(self) -> None:
        self._generation += 1
        await self._bus.publish(ModelWithdrawn(**self._change()), self.name)

    def _change(self) -> dict[str, Any]:
        return {
            "generation": self._generation,
            "ledger": "l",
            "actor": "test",
            "reason": "",
            "committed_at": datetime.now(UTC),
        }

    async def said(self, kind: type[Said], version: str, after: int = 0) -> dict[int, Said]:
        """Wait until every worker said something of a version; return it by worker."""
        found: dict[int, Said] = {}
        async with asyncio.timeout(20):
            async for received in follow(self._bus, Stream.LIFECYCLE, [kind.subject(self.name)], after):
                event: Any = received.event
                if event.version == version:
                    found[event.worker] = event
                if len(found) == WORKERS:
                    break
        return found

    async def serve(self, share: float, *, prefetch: bool = False) -> dict[int, ModelServing]:
        """Promote a bundle that answers `share`, and wait until every worker serves it."""
        ref = await self.bundle(share)
        if prefetch:
            await self.finish(ref)
        return await self.said(ModelServing, await self.promote(ref, share))
