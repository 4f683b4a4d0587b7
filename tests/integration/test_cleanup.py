"""A cleanup that is cut short is finished by whoever takes over, and is decided once."""

import asyncio
from pathlib import Path

import pytest

from shared.bus import NatsBus
from shared.errors import BundleError
from shared.events import PromotionDecided, PromotionRequested
from shared.faults import FOLDER
from shared.settings import BusSettings
from shared.streams import declare_when_reachable
from tests.integration.hands import Hands, promoter_process
from tests.integration.kit import Versions, listening_to, new_model
from tests.servers import wait_for


async def test_a_cleanup_survives_its_promoter(
    nats_url: str, database_url: str, tracking_uri: str, tmp_path: Path
) -> None:
    servers = (nats_url, database_url, tracking_uri)
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    async with NatsBus(BusSettings(nats_url=nats_url), "test") as bus:
        await declare_when_reachable(bus.js, 1)
        hands = Hands("", Versions(tracking_uri, new_model()), bus, tmp_path)
        numbers = [await hands.good() for _ in range(4)]
        refs = [await hands.bundle(number) for number in numbers]
        async with listening_to(bus, hands.model, PromotionDecided) as ear:
            with promoter_process(*servers, first, **{FOLDER: str(first)}) as promoter:
                (first / "promoter.deleted").touch()
                await bus.publish(PromotionRequested(action="cleanup", keep=1, actor="ann"), hands.model)
                died = lambda: promoter.process.poll() is not None  # noqa: E731
                await asyncio.to_thread(wait_for, "the promoter to die between two deletions", died)
            assert await hands.numbers() == numbers[1:]
            await bus.fetch_bundle(refs[0], tmp_path / "there")
            with promoter_process(*servers, second):
                decided = await asyncio.wait_for(ear.next(), 60)
        assert isinstance(decided, PromotionDecided)
        assert (decided.verdict, [version.version for version in decided.deleted]) == ("done", numbers[:3])
        assert await hands.numbers() == numbers[3:]
        for ref in refs[:3]:
            with pytest.raises(BundleError):
                await bus.fetch_bundle(ref, tmp_path / "gone")
        await bus.fetch_bundle(refs[3], tmp_path / "there")
