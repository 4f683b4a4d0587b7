"""The heartbeat: what a worker serves, said at regular intervals."""

import asyncio

from services.predictor.settings import PredictorSettings
from services.predictor.slot import Slots
from shared.bus import Bus
from shared.events import PredictorAlive, ServedModel


async def beat(bus: Bus, slots: Slots, settings: PredictorSettings, worker: int) -> None:
    """Publish `predictor.alive` for ever; it is to be believed for three intervals."""
    while True:
        served = [
            ServedModel(model=champion.model, version=champion.version, generation=champion.generation)
            for champion in slots.champions
        ]
        alive = PredictorAlive(
            predictor=settings.predictor_name, worker=worker, models=served, ttl_s=3 * settings.heartbeat_s
        )
        await bus.publish(alive, "")
        await asyncio.sleep(settings.heartbeat_s)
