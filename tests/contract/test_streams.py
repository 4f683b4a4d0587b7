"""What NATS makes of the streams' declarations."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from shared.bus import NatsBus
from shared.event import Stream
from shared.settings import BusSettings
from shared.streams import MOST_CONSUMERS, declare_all, stream_configs
from tests.servers import nats_server

NATS_DEFAULT = 1_000
OF_PREDICTORS = (Stream.LIFECYCLE, Stream.CHAMPIONS)


@pytest.fixture
async def js(tmp_path: Path) -> AsyncIterator[JetStreamContext]:
    with nats_server(tmp_path) as url:
        async with NatsBus(BusSettings(nats_url=url), "test") as bus:
            yield bus.js


async def most_consumers(js: JetStreamContext) -> set[int | None]:
    return {(await js.stream_info(name)).config.max_consumers for name in OF_PREDICTORS}


async def test_more_than_a_thousand_predictors_can_follow_champions(js: JetStreamContext) -> None:
    await declare_all(js)
    config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, inactive_threshold=60, mem_storage=True)
    for _ in range(NATS_DEFAULT + 1):
        await js.add_consumer(Stream.CHAMPIONS, config)
    assert (await js.stream_info(Stream.CHAMPIONS)).state.consumer_count == NATS_DEFAULT + 1


async def test_streams_that_were_declared_without_a_limit_get_it(js: JetStreamContext) -> None:
    for config in stream_configs(1):
        await js.add_stream(replace(config, max_consumers=None))
    assert await most_consumers(js) != {MOST_CONSUMERS}
    await declare_all(js)
    assert await most_consumers(js) == {MOST_CONSUMERS}
