"""The heartbeat: what a worker serves, said at regular intervals."""

import asyncio

from services.predictor.settings import PredictorSettings
from services.predictor.slot import Slots
from shared.bus import NatsBus
from shared.events import PredictorAlive, ServedModel


async def beat(bus: NatsBus, slots: Slots, settings: PredictorSettings, worker: int) -> None:
    """Publish `predictor.alive` for ever; it is to be believed for three intervals."""
    while True:
        if bus.client.is_connected:  # else the client would store beats, and send them all when they mean nothing
            await bus.publish(alive(slots, settings, worker), "")
        await asyncio.sleep(settings.heartbeat_s)


def alive(slots: Slots, settings: PredictorSettings, worker: int) -> PredictorAlive:
    """Return what a worker says of itself, what it would load for whoever asks for it included."""
    served = [
        ServedModel(model=champion.model, version=champion.version, generation=champion.generation)
        for champion in slots.champions
    ]
    unloaded = [
        ServedModel(model=model, version=promoted.version, generation=promoted.generation, loaded=False)
        for model, promoted in slots.unloaded
    ]
    return PredictorAlive(
        predictor=settings.instance,
        worker=worker,
        models=[*served, *unloaded],
        only=None if settings.models is None else sorted(settings.models),
        ttl_s=3 * settings.heartbeat_s,
    )
