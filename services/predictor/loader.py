"""The loader: brings the champion of a lazy model into memory for whoever asks for it, and makes room for it there."""

import asyncio
from collections import Counter

from services.predictor.challengers import Challengers
from services.predictor.follower import Follower
from services.predictor.slot import Champion, Slots
from shared.telemetry import logger

log = logger(__name__)


class Loader:
    """Loads each champion once for all who ask; of the loaded ones at most `most` stay, None being all."""

    def __init__(self, follower: Follower, challengers: Challengers, slots: Slots, most: int | None) -> None:
        self._follower = follower
        self._challengers = challengers
        self._slots = slots
        self._most = most
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._asking: Counter[str] = Counter()

    async def load(self, model: str) -> Champion:
        """Return a model's champion, loaded for whoever asks first; all who ask meanwhile wait for the same load.

        From then on the model is followed as an eager one. Raise what keeps its champion from being served.
        """
        self._asking[model] += 1
        try:
            if model not in self._loading:
                self._loading[model] = loading = asyncio.create_task(self._follower.wake(model))
                loading.add_done_callback(lambda _: self._loading.pop(model))
            await asyncio.wait([self._loading[model]])
            champion = self._slots.champion(model)
        finally:
            self._asking[model] -= 1
        self._make_room(champion)
        return champion

    def _make_room(self, newest: Champion) -> None:
        """Unload what was not asked for the longest time; requests in flight keep the model that they began with."""
        loaded = self._slots.champions
        idle = [one for one in loaded if one is not newest and not self._asking[one.model]]
        idle = [one for one in idle if self._follower.is_settled(one)]
        excess = 0 if self._most is None else max(len(loaded) - self._most, 0)
        for champion in sorted(idle, key=lambda one: one.usage.last)[:excess]:
            self._follower.rest(champion.model)
            self._challengers.forget(champion.model)
            log.info("unloaded", model=champion.model, version=champion.version)
