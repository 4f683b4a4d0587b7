"""What tests of several modules talk to."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.bus import NatsBus
from shared.settings import BusSettings
from shared.streams import declare_when_reachable
from tests.integration.models import Model


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[NatsBus]:
    async with NatsBus(BusSettings(nats_url=nats_url), "test") as opened:
        await declare_when_reachable(opened.js, 1)
        yield opened


@pytest.fixture
def model(bus: NatsBus, tmp_path: Path) -> Model:
    return Model(bus, tmp_path)
