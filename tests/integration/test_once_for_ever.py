"""What is said once stays said once, also when whoever takes over comes after the server forgot the event's id."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.trainer.children import Children
from services.trainer.requests import Request, Requests
from services.trainer.settings import TrainerSettings
from shared.bus import NatsBus, RequestState
from shared.event import Event, Stream
from shared.events import RunFailed, RunProgress, TrainRequested
from shared.registry import Registry
from shared.settings import BusSettings
from shared.streams import declare_when_reachable
from tests.servers import nats_server

MODEL = "heart disease"


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[NatsBus]:
    """A bus whose server remembers the ids of events for a moment only."""
    with nats_server(tmp_path) as url:
        async with NatsBus(BusSettings(nats_url=url), "test") as opened:
            await declare_when_reachable(opened.js, 1)
            config = (await opened.js.stream_info(Stream.LIFECYCLE)).config
            config.duplicate_window = 0.2
            await opened.js.update_stream(config)
            yield opened


async def stored(bus: NatsBus, kind: type[Event]) -> int:
    """Return how many events of a kind the stream holds."""
    info = await bus.js.stream_info(Stream.LIFECYCLE, subjects_filter=kind.subject(MODEL))
    return (info.state.subjects or {}).get(kind.subject(MODEL), 0)


async def forgotten(bus: NatsBus) -> None:
    """Wait until the server takes an id a second time; ids that are older are forgotten then, too."""
    probe = RunProgress(request_id="probe", step=1, of=1, message="")
    await bus.publish(probe, MODEL, event_id="probe")
    async with asyncio.timeout(30):
        while (await bus.publish(probe, MODEL, event_id="probe")).duplicate:
            await asyncio.sleep(0.1)


async def test_an_event_that_may_have_been_published_before_is_looked_for(bus: NatsBus) -> None:
    failed = RunFailed(request_id="r", kind="failed", message="")
    for number in range(3):
        await bus.publish(failed, MODEL, event_id=f"another {number}")
    identity = f"é {uuid.uuid4()}"
    first = await bus.publish(failed, MODEL, event_id=identity, again=True)
    assert not first.duplicate, "it was not there yet"
    await forgotten(bus)
    second = await bus.publish(failed, MODEL, event_id=identity, again=True)
    assert (second.sequence, second.duplicate) == (first.sequence, True)
    assert await stored(bus, RunFailed) == 4


async def test_a_trainer_that_takes_over_after_a_long_night_does_not_end_a_request_twice(bus: NatsBus) -> None:
    """As if the first one had died between publishing the end and noting that it did."""
    ended = RunFailed(request_id="r", kind="failed", message="")
    await bus.set_request_state("r", RequestState(state="started", model=MODEL, attempts=1, outcome=ended))
    await bus.publish(ended, MODEL, event_id="r:ended")
    await forgotten(bus)
    nobody = "http://127.0.0.1:9"
    requests = Requests(bus, Registry(nobody), Children(1), TrainerSettings())
    await requests.settle(Request("r", MODEL, TrainRequested(recipe="a", dataset="b")))
    state = await bus.request_state("r")
    assert state is not None
    assert state.state == "failed"
    assert await stored(bus, RunFailed) == 1
