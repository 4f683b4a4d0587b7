"""What the services rely on of a bus, held against NATS JetStream and against the fake."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.bus import Bus, NatsBus, RequestState
from shared.errors import BundleError, PromotionConflictError, UnreachableError
from shared.events import BundleRef, ModelPromoted, ModelWithdrawn, PredictorAlive, RunFailed
from shared.fakes import InMemoryBus
from shared.settings import BusSettings
from shared.streams import declare_when_reachable
from tests.servers import free_port


@pytest.fixture(params=["nats", "memory"])
async def bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bus]:
    if request.param == "memory":
        yield InMemoryBus(tmp_path)
        return
    async with NatsBus(BusSettings(nats_url=request.getfixturevalue("nats_url")), "test") as opened:
        await declare_when_reachable(opened.js, 1)
        yield opened


@pytest.fixture
def model() -> str:
    return f"o'hara's model. {uuid.uuid4()} > *"


def promoted(version: str, generation: int) -> ModelPromoted:
    return ModelPromoted(
        version=version, generation=generation, ledger="l", actor="a", reason="r", committed_at=datetime.now(UTC),
        bundle=BundleRef(object="o", digest="sha256:1", size=1),
    )  # fmt: skip


async def test_the_last_event_of_each_kind_and_model_is_remembered(bus: Bus, model: str) -> None:
    assert await bus.last(ModelPromoted, model) is None
    first = await bus.publish(promoted("1", 1), model)
    event = promoted("2", 2)
    second = await bus.publish(event, model)
    await bus.publish(promoted("9", 9), f"{model}, another")
    assert second.sequence > first.sequence
    assert await bus.last(ModelPromoted, model) == (second.sequence, event)
    assert await bus.last(ModelWithdrawn, model) is None


async def test_an_event_is_sent_after_the_pause(bus: Bus, model: str) -> None:
    before: list[object] = []

    async def pause() -> None:
        before.append(await bus.last(ModelPromoted, model))

    event = promoted("1", 1)
    receipt = await bus.publish(event, model, pause=pause)
    assert before == [None]
    assert await bus.last(ModelPromoted, model) == (receipt.sequence, event)


async def test_an_event_is_stored_once_per_id(bus: Bus, model: str) -> None:
    identity = f'é "100 %" {uuid.uuid4()}'
    first = await bus.publish(promoted("1", 1), model, event_id=identity)
    again = await bus.publish(promoted("1", 1), model, event_id=identity)
    assert (first.duplicate, again.duplicate) == (False, True)
    assert again.sequence == first.sequence
    other_stream = RunFailed(request_id="r", kind="failed", message="")
    assert not (await bus.publish(other_stream, model, event_id=identity)).duplicate


async def test_without_an_id_every_event_is_another(bus: Bus, model: str) -> None:
    sequences = [(await bus.publish(promoted("1", 1), model)).sequence for _ in range(2)]
    assert sequences[0] < sequences[1]


async def test_an_expectation_that_does_not_hold_stores_nothing(bus: Bus, model: str) -> None:
    first = await bus.publish(promoted("1", 1), model, expected_last=0)
    with pytest.raises(PromotionConflictError, match="moved past sequence 0"):
        await bus.publish(promoted("2", 2), model, expected_last=0)
    second = await bus.publish(promoted("3", 3), model, expected_last=first.sequence)
    last = await bus.last(ModelPromoted, model)
    assert last is not None
    assert last[0] == second.sequence


async def test_an_expectation_is_checked_before_duplicates_are(bus: Bus, model: str) -> None:
    """So who repeats a publish whose receipt was lost sees a conflict, and must look at what is stored."""
    identity = str(uuid.uuid4())
    first = await bus.publish(promoted("1", 1), model, event_id=identity, expected_last=0)
    with pytest.raises(PromotionConflictError):
        await bus.publish(promoted("1", 1), model, event_id=identity, expected_last=0)
    again = await bus.publish(promoted("1", 1), model, event_id=identity, expected_last=first.sequence)
    assert (again.sequence, again.duplicate) == (first.sequence, True)


async def test_a_heartbeat_is_kept_by_no_stream(bus: Bus) -> None:
    alive = PredictorAlive(predictor="p", worker=0, models=[], ttl_s=1)
    assert (await bus.publish(alive, "")).sequence == 0


async def test_a_bundle_comes_back_as_it_was_stored(bus: Bus, tmp_path: Path) -> None:
    archive, digest = tmp_path / "archive", f"sha256:{uuid.uuid4().hex}"
    archive.write_bytes(bytes(range(256)) * 2000)  # more than one chunk
    ref = await bus.put_bundle(archive, digest)
    assert (ref.digest, ref.size) == (digest, 512_000)
    assert await bus.put_bundle(archive, digest) == ref
    await bus.fetch_bundle(ref, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == archive.read_bytes()


async def test_a_bundle_that_is_not_there_cannot_be_downloaded(bus: Bus, tmp_path: Path) -> None:
    ref = BundleRef(object="sha256-nothing", digest="sha256:nothing", size=1)
    with pytest.raises(BundleError, match="cannot be downloaded") as failed:
        await bus.fetch_bundle(ref, tmp_path / "copy")
    assert failed.value.check == "download"
    assert not (tmp_path / "copy").exists()


async def test_a_deleted_bundle_is_gone_and_can_be_stored_again(bus: Bus, tmp_path: Path) -> None:
    archive, digest = tmp_path / "archive", f"sha256:{uuid.uuid4().hex}"
    archive.write_bytes(b"content" * 50_000)
    ref = await bus.put_bundle(archive, digest)
    for _ in range(2):  # the second time there is nothing to delete
        await bus.delete_bundle(digest)
        with pytest.raises(BundleError, match="cannot be downloaded"):
            await bus.fetch_bundle(ref, tmp_path / "copy")
    assert await bus.put_bundle(archive, digest) == ref
    await bus.fetch_bundle(ref, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == archive.read_bytes()


async def test_the_state_of_a_request_is_what_was_said_last(bus: Bus) -> None:
    request_id = str(uuid.uuid4())
    assert await bus.request_state(request_id) is None
    for state in (RequestState(state="started", model="m", attempts=1), RequestState(state="finished", model="m")):
        await bus.set_request_state(request_id, state)
        assert await bus.request_state(request_id) == state


async def test_a_server_that_is_not_there_is_said_to_be_so() -> None:
    url = f"nats://127.0.0.1:{free_port()}"
    with pytest.raises(UnreachableError, match="baton up"):
        await NatsBus(BusSettings(nats_url=url), "test").open(0.5)
