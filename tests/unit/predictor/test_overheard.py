"""What passes is followed at once: promotions and withdrawals; what is malformed, or fails, holds up nothing."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock, Mock

import pytest
import structlog.testing
from faststream.nats import NatsBroker, TestNatsBroker
from nats.aio.client import Client

from services.predictor.follower import Follower
from services.predictor.handlers import subscribe
from services.predictor.overheard import OnlyNews, Overheard
from shared.event import Stream
from shared.events import BundleRef
from tests.unit.predictor.conftest import promoted, withdrawn

REF = BundleRef(object="sha256-a", digest="sha256:a", size=1)
Hear = Callable[[Any], Awaitable[None]]


class Wire:
    """A connection on which messages pass."""

    def __init__(self) -> None:
        self.subjects: dict[str, Hear] = {}
        self.flushed = False

    async def subscribe(self, subject: str, cb: Hear) -> None:
        self.subjects[subject] = cb

    async def flush(self) -> None:
        self.flushed = True

    async def passes(self, subject: str, data: bytes) -> None:
        hear = self.subjects[f"{subject.rpartition('.')[0]}.>"]
        await hear(SimpleNamespace(subject=subject, data=data))


@pytest.fixture
def follower() -> Mock:
    return Mock(spec=Follower)


@pytest.fixture
def overheard(follower: Mock) -> Overheard:
    return Overheard(follower)


@pytest.fixture
async def wire(overheard: Overheard) -> Wire:
    wire = Wire()
    await overheard.listen(cast("Client", wire))
    assert wire.flushed, "the server knows"
    return wire


@pytest.mark.parametrize("change", [promoted(REF, "1", 1), withdrawn(2)])
async def test_changes_are_followed(wire: Wire, follower: Mock, change: Any) -> None:
    await wire.passes(change.subject("m"), change.model_dump_json().encode())
    follower.follow.assert_called_once_with("m", change)


async def test_what_is_malformed_is_left_to_who_reads_the_stream(wire: Wire, follower: Mock) -> None:
    await wire.passes("model.promoted.m", b"{}")
    follower.follow.assert_not_called()


async def test_what_fails_is_said(wire: Wire, follower: Mock) -> None:
    follower.follow.side_effect = RuntimeError("nobody foresaw it")
    change = promoted(REF, "1", 1)
    with structlog.testing.capture_logs() as lines:
        await wire.passes(change.subject("m"), change.model_dump_json().encode())
    assert [line["log_level"] for line in lines] == ["error"]


async def test_the_stream_s_copy_of_what_was_followed_is_not_read_again(
    wire: Wire, follower: Mock, overheard: Overheard
) -> None:
    heard, missed = promoted(REF, "1", 1), promoted(REF, "2", 2)
    await wire.passes(heard.subject("m"), heard.model_dump_json().encode())
    broker = NatsBroker()
    subscribe(broker, follower, Mock(), slots=Mock(), overheard=overheard)
    async with TestNatsBroker(broker):
        for change in (heard, missed):
            await broker.publish(change.model_dump_json().encode(), change.subject("m"), stream=Stream.CHAMPIONS)
    assert [called.args for called in follower.follow.call_args_list] == [("m", heard), ("m", missed)]


async def test_what_was_overheard_and_not_followed_is_read_again(
    wire: Wire, follower: Mock, overheard: Overheard
) -> None:
    follower.follow.side_effect = RuntimeError("nobody foresaw it")
    change, data = promoted(REF, "1", 1), promoted(REF, "1", 1).model_dump_json().encode()
    await wire.passes(change.subject("m"), data)
    assert not overheard.is_copy(change.subject("m"), data)


async def test_the_copy_is_acknowledged_and_comes_again_as_anything_else(wire: Wire, overheard: Overheard) -> None:
    change = promoted(REF, "1", 1)
    data, read = change.model_dump_json().encode(), AsyncMock()
    await wire.passes(change.subject("m"), data)
    message = Mock(raw_message=SimpleNamespace(subject=change.subject("m"), data=data), ack=AsyncMock())
    only_news = OnlyNews(overheard, message, context=Mock())
    await only_news.consume_scope(read, message)
    message.ack.assert_awaited_once_with()
    read.assert_not_awaited()
    await only_news.consume_scope(read, message)
    read.assert_awaited_once_with(message)
