"""The siege of a NATS cluster: each server is killed in turn, and what is promoted meanwhile has to reach everybody."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

from shared.bus import NatsBus
from shared.event import Stream
from shared.events import ModelServing
from shared.follow import follow, last_sequence
from shared.patience import patiently
from tests.chaos.journal import Journal
from tests.nodes import Nodes

REACHED_WITHIN_S = 90.0


class Siege:
    """Kills, promotes and heals; `promote` makes a new version of a model champion and returns its number.

    `deaf` says whom a promotion did not reach, `delays_s` how long each took to each worker, from its commit on.
    """

    def __init__(
        self, nodes: Nodes, bus: NatsBus, model: str, promote: Callable[[], Awaitable[str]], *, journal: Journal
    ) -> None:
        self.kills = 0
        self.deaf: list[str] = []
        self.delays_s: list[float] = []
        self._nodes = nodes
        self._bus = bus
        self._model = model
        self._promote = promote
        self._journal = journal

    async def round(self, workers: int) -> None:
        """Kill each server once; the next one only when the one before has caught up, and everybody hears."""
        for node in self._nodes.members:
            self._journal.note(f"== kill {node.name}")
            await asyncio.to_thread(node.end, signal.SIGKILL)
            self.kills += 1
            await self.promotion(workers)
            self._journal.note(f"== start {node.name}")
            self._nodes.start(node)
            await asyncio.to_thread(self._nodes.wait_until_healthy)
            await self.promotion(workers)

    async def promotion(self, workers: int) -> None:
        """Promote, and wait until so many workers say that they serve it."""
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
                    if len(reached) == workers:
                        break
        except TimeoutError:
            self.deaf.append(f"version {version} reached {sorted(reached)} of {workers} workers")
        self.delays_s += reached.values()
        self._journal.note(f"== served after {max(reached.values(), default=0):.2f} s")
