"""Promotions that have to reach every worker of every predictor, whatever is killed meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable

from shared.bus import NatsBus
from shared.event import Stream
from shared.events import ModelServing
from shared.follow import follow, last_sequence
from shared.patience import patiently
from tests import bundles
from tests.chaos.journal import Journal
from tests.chaos.stack import Stack
from tests.integration.kit import Versions

REACHED_WITHIN_S = 90.0


class Promotions:
    """Of one model: `promote` makes a new version champion and returns its number.

    `deaf` says whom a promotion did not reach, `delays_s` how long each took to each worker, from its commit on.
    """

    def __init__(
        self, bus: NatsBus, model: str, promote: Callable[[], Awaitable[str]], *, workers: int, journal: Journal
    ) -> None:
        self.deaf: list[str] = []
        self.delays_s: list[float] = []
        self._bus = bus
        self._model = model
        self._promote = promote
        self._workers = workers
        self._journal = journal

    async def reach_all(self) -> None:
        """Promote, and wait until every worker says that it serves it."""
        after = await patiently(lambda: last_sequence(self._bus.js, Stream.LIFECYCLE), "nobody knows what was said")
        version = await self._promote()
        self._journal.note(f"== promoted version {version}")
        reached: dict[tuple[str, int], float] = {}
        try:
            async with asyncio.timeout(REACHED_WITHIN_S):
                async for received in follow(self._bus, Stream.LIFECYCLE, [ModelServing.subject(self._model)], after):
                    event = received.event
                    if isinstance(event, ModelServing) and event.version == version:
                        reached[event.predictor, event.worker] = event.delay_ms / 1e3
                    if len(reached) == self._workers:
                        break
        except TimeoutError:
            self.deaf.append(f"version {version} reached {sorted(reached)} of {self._workers} workers")
        self.delays_s += reached.values()
        self._journal.note(f"== served after {max(reached.values(), default=0):.2f} s")


class Outsider:
    """Promotes as MLflow's users do; each version has a bundle that nobody has seen."""

    def __init__(self, stack: Stack, bus: NatsBus, model: str) -> None:
        self._versions = Versions(stack.mlflow, model)
        self._folder = stack.data.root / "bundles"
        self._folder.mkdir()
        self._bus = bus
        self._made = 0

    async def promote(self) -> str:
        """Register a version, move the alias to it, and return its number."""
        self._made += 1
        ref = await self._bus.put_bundle(*bundles.classifier(self._folder, 0.1 + 0.8 * self._made / 1000))
        version = await asyncio.to_thread(self._versions.plain, ref)
        client, model = self._versions.client, self._versions.model
        await asyncio.to_thread(client.set_registered_model_alias, model, "champion", version)
        return version
