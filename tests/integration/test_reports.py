"""What predictors report: read in the order in which it was said, also by a promoter that comes late."""

import asyncio
from typing import Any

import pytest

from shared.bus import NatsBus
from shared.event import Event
from shared.events import Check, ModelPromoted, ModelRejected, ModelServing, PromotionDecided
from tests.integration.kit import Ear, Versions, listening_to, new_model, promoter

OTHERS = 300
DURATIONS: dict[str, Any] = dict.fromkeys(("load_ms", "verify_ms", "swap_ms", "delay_ms"), 1.0)


def serving(promoted: ModelPromoted) -> ModelServing:
    return ModelServing(
        predictor="p",
        worker=0,
        version=promoted.version,
        generation=promoted.generation,
        ledger=promoted.ledger,
        prefetched=False,
        **DURATIONS,
    )


def rejected(promoted: ModelPromoted, check: Check) -> ModelRejected:
    return ModelRejected(
        predictor="p",
        worker=0,
        version=promoted.version,
        generation=promoted.generation,
        ledger=promoted.ledger,
        check=check,
        message="off",
    )


async def next_of(ear: Ear) -> Event:
    return await asyncio.wait_for(ear.next(), 60)


@pytest.mark.parametrize("check", ["golden", "deadline"])
async def test_a_rejection_is_judged_after_the_reports_before_it(
    database_url: str, tracking_uri: str, nats_url: str, bus: NatsBus, check: Check
) -> None:
    """However many others there were: a version is only gone back to if it has served, and that was said before.

    A model that hangs is taken back as one that answers wrongly is.
    """
    versions = Versions(tracking_uri, new_model())
    promotions = []
    relaying = promoter(database_url, tracking_uri, nats_url)
    async with relaying, listening_to(bus, versions.model, ModelPromoted) as ear:
        for _ in range(2):
            version = versions.plain()
            await asyncio.to_thread(versions.client.set_registered_model_alias, versions.model, "champion", version)
            promotions.append(await next_of(ear))
    good, bad = promotions
    assert isinstance(good, ModelPromoted)
    assert isinstance(bad, ModelPromoted)

    for _ in range(OTHERS):
        await bus.publish(serving(good), new_model())
    await bus.publish(serving(good), versions.model)
    async with listening_to(bus, versions.model, PromotionDecided) as ear:
        await bus.publish(rejected(bad, check), versions.model)
        async with promoter(database_url, tracking_uri, nats_url):
            decided = await next_of(ear)
    assert isinstance(decided, PromotionDecided)
    assert (decided.action, decided.verdict, decided.version) == ("rollback", "promoted", good.version)
