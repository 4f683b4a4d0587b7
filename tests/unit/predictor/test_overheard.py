"""What passes is followed at once: promotions and withdrawals; what is malformed, or fails, holds up nothing."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import pytest
import structlog.testing
from nats.aio.client import Client

from services.predictor.follower import Follower
from services.predictor.overheard import overhear_champions
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
async def wire(follower: Mock) -> Wire:
    wire = Wire()
    await overhear_champions(cast("Client", wire), follower)
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
