"""The follower: each model ends at its last change, models do not wait for each other, nothing unverified serves."""

import asyncio
import gc
import threading
import weakref
from pathlib import Path
from unittest.mock import Mock

import pytest
import structlog
from faststream.nats import NatsBroker, TestNatsBroker

from services.predictor.challengers import PREFETCHES
from services.predictor.handlers import prefetch, subscribe
from services.predictor.overheard import Overheard
from services.predictor.slot import Slot
from shared.errors import BundleError
from shared.event import Stream
from shared.events import BundleRef, ModelRejected, ModelServing, RunFinished
from shared.fakes import InMemoryBus
from shared.verification import VerifiedModel, verify
from tests.unit.predictor.conftest import Parts, promoted, until, withdrawn

MISSING = BundleRef(object="sha256-none", digest="sha256:none", size=1)


class SlowBus(InMemoryBus):
    """A bus whose downloads of chosen bundles wait to be let go."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.held: dict[str, asyncio.Event] = {}
        self.waiting = asyncio.Event()
        self.begun = 0

    async def fetch_bundle(self, ref: BundleRef, destination: Path) -> None:
        self.begun += 1
        if held := self.held.get(ref.digest):
            self.waiting.set()
            await held.wait()
        await super().fetch_bundle(ref, destination)


@pytest.fixture
def bus(tmp_path: Path) -> SlowBus:
    return SlowBus(tmp_path)


@pytest.fixture
def parts(tmp_path: Path, bus: SlowBus) -> Parts:
    return Parts(tmp_path, bus)


def version(parts: Parts, model: str) -> str | None:
    champion = parts.slots.of(model).champion
    return champion.version if champion else None


async def test_a_promotion_serves_and_says_so(parts: Parts) -> None:
    ref = await parts.bundle(0.25)
    parts.follower.follow("m", promoted(ref, "1", 1))
    await parts.follower.settled()
    champion = parts.slots.champion("m")
    assert (champion.version, champion.generation, champion.digest) == ("1", 1, ref.digest)
    ((model, said),) = await parts.reported(ModelServing, 1)
    assert isinstance(said, ModelServing)
    assert (model, said.predictor, said.version, said.generation, said.prefetched) == ("m", "here", "1", 1, False)
    assert 0 <= said.swap_ms < said.delay_ms


async def test_a_challenger_that_was_evicted_is_on_disk_once_it_is_champion(tmp_path: Path, bus: SlowBus) -> None:
    parts = Parts(tmp_path, bus, cache_bytes=1)
    challenger, later = await parts.bundle(0.25), await parts.bundle(0.5)
    for ref in (challenger, later):  # the later one's download evicts the first, which stays in memory
        await parts.challengers.get("m", ref)
    parts.follower.follow("m", promoted(challenger, "1", 1))
    await parts.follower.settled()
    restarted = Parts(tmp_path, bus)
    await restarted.follower.restore()
    assert version(restarted, "m") == "1"


async def test_a_prefetched_promotion_is_one_assignment(parts: Parts) -> None:
    ref = await parts.bundle(0.25)
    verified = await parts.challengers.get("m", ref)
    parts.follower.follow("m", promoted(ref, "1", 1))
    await parts.follower.settled()
    assert parts.slots.champion("m").verified is verified
    ((_, said),) = await parts.reported(ModelServing, 1)
    assert isinstance(said, ModelServing)
    assert said.prefetched


async def remembered(parts: Parts, model: str) -> str | None:
    """Return the version that a restarted worker without a bus serves."""
    restarted = Parts(parts.folder, parts.bus)
    await restarted.follower.restore()
    return version(restarted, model)


async def test_what_was_swapped_is_remembered_though_a_newer_change_fails(parts: Parts) -> None:
    good = [await parts.bundle(share) for share in (0.25, 0.5)]
    bad = await parts.bundle(0.75, golden_share=0.7)
    parts.follower.follow("m", promoted(good[0], "1", 1))
    await parts.follower.settled()
    await parts.challengers.get("m", good[1])
    parts.follower.follow("m", promoted(good[1], "2", 2))
    await until(lambda: version(parts, "m") == "2", "the second version")
    parts.follower.follow("m", promoted(bad, "3", 3))
    await parts.follower.settled()
    assert version(parts, "m") == "2"
    assert await remembered(parts, "m") == "2"


async def test_who_stops_writes_down_what_was_applied(parts: Parts) -> None:
    refs = [await parts.bundle(share) for share in (0.25, 0.5)]
    parts.follower.follow("m", promoted(refs[0], "1", 1))
    await parts.follower.settled()
    parts.follower.follow("m", promoted(refs[1], "2", 2))
    await until(lambda: version(parts, "m") == "2", "the second version")
    await parts.follower.stop()
    assert await remembered(parts, "m") == "2"


async def test_who_has_stopped_follows_nothing(parts: Parts) -> None:
    ref = await parts.bundle(0.25)
    await parts.challengers.get("m", ref)
    await parts.follower.stop()
    parts.follower.follow("m", promoted(ref, "1", 1))
    assert version(parts, "m") is None


async def test_a_swap_is_told_after_the_requests_that_wait(parts: Parts) -> None:
    ref = await parts.bundle(0.25)
    await parts.challengers.get("m", ref)
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        parts.follower.follow("m", promoted(ref, "1", 1).model_copy(update={"request_id": "r"}))
        assert version(parts, "m") == "1", "served in the call that brought the news"
        assert not lines
        await parts.reported(ModelServing, 1)
    (said,) = [line for line in lines if line["event"] == "serving"]
    assert (said["model"], said["version"], said["request_id"]) == ("m", "1", "r")


async def test_a_promotion_joins_a_verification_under_way(parts: Parts, bus: SlowBus) -> None:
    ref = await parts.bundle(0.25)
    bus.held[ref.digest] = asyncio.Event()
    prefetching = asyncio.create_task(parts.challengers.get("m", ref))
    parts.follower.follow("m", promoted(ref, "1", 1))
    bus.held[ref.digest].set()
    await parts.follower.settled()
    assert parts.slots.champion("m").verified is await prefetching


async def test_a_bundle_that_hangs_is_rejected_and_holds_up_nobody(tmp_path: Path, bus: SlowBus) -> None:
    over, hanging = threading.Event(), set[str]()

    def slowly(archive: Path, folder: Path, digest: str) -> VerifiedModel:
        if digest in hanging:
            over.wait(60)
        return verify(archive, folder, digest)

    parts = Parts(tmp_path, bus, slowly, deadline_s=2)
    old, hangs, other = [await parts.bundle(share) for share in (0.1, 0.2, 0.3)]
    hanging.add(hangs.digest)
    parts.follower.follow("m", promoted(old, "1", 1))
    await parts.follower.settled()
    parts.follower.follow("m", promoted(hangs, "2", 2))
    parts.follower.follow("n", promoted(other, "1", 1))
    await until(lambda: version(parts, "n") == "1", "the other model to be served")
    ((model, said),) = await parts.reported(ModelRejected, 1)
    assert isinstance(said, ModelRejected)
    assert (model, said.version, said.check) == ("m", "2", "deadline")
    assert said.message == "the bundle was not verified within 2 s (BATON_VERIFY_DEADLINE_S)"
    assert version(parts, "m") == "1"
    parts.follower.follow("m", promoted(other, "3", 3))
    await parts.follower.settled()
    assert version(parts, "m") == "3"
    over.set()


async def test_a_full_cache_speaks_against_no_champion(tmp_path: Path, bus: SlowBus) -> None:
    parts = Parts(tmp_path, bus, cache_bytes=60_000)
    bundles = {f"m{number}": await parts.bundle(number / 100) for number in range(1, 31)}
    for model, bundle in bundles.items():
        parts.follower.follow(model, promoted(bundle, "1", 1))
    await parts.follower.settled()
    assert parts.slots.served == sorted(bundles)
    assert all(parts.cache.has(bundle) for bundle in bundles.values()), "champions are on disk for the next start"


async def test_what_fails_unexpectedly_is_tried_again(tmp_path: Path, bus: SlowBus) -> None:
    failures = [RuntimeError("nobody foresaw this"), MemoryError()]

    def fails(archive: Path, folder: Path, digest: str) -> VerifiedModel:
        if failures:
            raise failures.pop()
        return verify(archive, folder, digest)

    parts = Parts(tmp_path, bus, fails)
    parts.follower.follow("m", promoted(await parts.bundle(0.1), "1", 1))
    await until(lambda: version(parts, "m") == "1", "the model to be served")
    assert not failures


async def test_a_change_that_is_not_news_changes_nothing(parts: Parts) -> None:
    first, second = await parts.bundle(0.25), await parts.bundle(0.75)
    parts.follower.follow("m", promoted(first, "2", 2))
    await parts.follower.settled()
    for stale in (promoted(second, "1", 1), promoted(first, "2", 2), withdrawn(1)):
        parts.follower.follow("m", stale)
    await parts.follower.settled()
    assert version(parts, "m") == "2"
    await parts.reported(ModelServing, 1)
    assert len(parts.bus.events(ModelServing)) == 1


async def test_a_rejected_version_leaves_the_old_one(parts: Parts) -> None:
    good, bad = await parts.bundle(0.25), await parts.bundle(0.75, golden_share=0.7)
    parts.follower.follow("m", promoted(good, "1", 1))
    parts.follower.follow("m", promoted(bad, "2", 2))
    await parts.follower.settled()
    ((model, said),) = await parts.reported(ModelRejected, 1)
    assert isinstance(said, ModelRejected)
    assert (model, said.version, said.generation, said.check) == ("m", "2", 2, "golden")
    parts.follower.follow("m", promoted(good, "1", 3))
    await parts.follower.settled()
    assert version(parts, "m") == "1"


async def test_models_do_not_wait_for_each_other_and_the_newest_change_wins(parts: Parts, bus: SlowBus) -> None:
    slow, quick = await parts.bundle(0.25), await parts.bundle(0.75)
    bus.held[slow.digest] = asyncio.Event()
    parts.follower.follow("m", promoted(slow, "1", 1))
    await bus.waiting.wait()
    parts.follower.follow("other", promoted(quick, "1", 1))
    await until(lambda: version(parts, "other") == "1", "the other model")
    assert version(parts, "m") is None
    parts.follower.follow("m", promoted(slow, "2", 2))
    parts.follower.follow("m", promoted(quick, "3", 3))
    await until(lambda: version(parts, "m") == "3", "the newest, though what it overtook is still being fetched")
    bus.held[slow.digest].set()
    await parts.follower.settled()
    await until(
        lambda: bool(parts.challengers.at_hand("m", slow.digest)), "the overtaken one, which may be champion yet"
    )
    assert version(parts, "m") == "3"
    reports = await parts.reported(ModelServing, 2)
    versions = [event.version for model, event in reports if model == "m" and isinstance(event, ModelServing)]
    assert versions == ["3"], "nobody is served what was overtaken while it was fetched"


async def test_what_is_at_hand_is_served_in_the_call_that_brings_the_news(parts: Parts) -> None:
    challenger = await parts.bundle(0.25)
    await parts.challengers.get("m", challenger)
    before = asyncio.all_tasks()
    parts.follower.follow("m", promoted(challenger, "1", 1))
    assert version(parts, "m") == "1"
    assert asyncio.all_tasks() == before, "nothing is left to do about it"
    parts.follower.follow("m", promoted(challenger, "1", 1))
    await parts.follower.settled()
    reports = [event for _, event in await parts.reported(ModelServing, 1) if isinstance(event, ModelServing)]
    assert [event.prefetched for event in reports] == [True], "once, though the news came twice"


async def test_what_cannot_be_served_at_once_is_served_all_the_same(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    challenger = await parts.bundle(0.25)
    await parts.challengers.get("m", challenger)
    with monkeypatch.context() as broken:
        broken.setattr(Slot, "swap", Mock(side_effect=RuntimeError))
        with pytest.raises(RuntimeError):
            parts.follower.follow("m", promoted(challenger, "1", 1))
    await parts.follower.settled()
    assert version(parts, "m") == "1"


async def test_a_withdrawal_does_not_wait_for_what_it_withdraws(parts: Parts, bus: SlowBus) -> None:
    old, slow = await parts.bundle(0.25), await parts.bundle(0.75)
    parts.follower.follow("m", promoted(old, "1", 1))
    await parts.follower.settled()
    bus.held[slow.digest] = asyncio.Event()
    parts.follower.follow("m", promoted(slow, "2", 2))
    await bus.waiting.wait()
    parts.follower.follow("m", withdrawn(3))
    await until(lambda: version(parts, "m") is None, "the withdrawal")
    await parts.follower.settled()
    assert version(parts, "m") is None
    await parts.follower.stop()


async def test_what_fails_after_it_was_overtaken_is_not_rejected(parts: Parts, bus: SlowBus, tmp_path: Path) -> None:
    slow, quick = await parts.bundle(0.25), await parts.bundle(0.75)
    bus.held[slow.digest] = asyncio.Event()
    parts.follower.follow("m", promoted(slow, "1", 1))
    await bus.waiting.wait()
    parts.follower.follow("m", promoted(quick, "2", 2))
    (tmp_path / slow.object).unlink()
    bus.held[slow.digest].set()
    await parts.follower.settled()
    await parts.reported(ModelServing, 1)
    assert (version(parts, "m"), parts.slots.of("m").problem) == ("2", None)
    assert parts.bus.events(ModelRejected) == []


async def test_a_challenger_that_hangs_holds_up_the_prefetch_of_no_other(parts: Parts, bus: SlowBus) -> None:
    slow, quick = await parts.bundle(0.25), await parts.bundle(0.75)
    bus.held[slow.digest] = asyncio.Event()
    broker = NatsBroker("nats://127.0.0.1:1")
    subscribe(broker, parts.follower, parts.challengers, slots=parts.slots, overheard=Overheard(parts.follower))
    async with TestNatsBroker(broker):
        for model, ref in (("m", slow), ("other", quick)):
            run = RunFinished(request_id="r", run_id="r", version="1", metrics={}, bundle=ref)
            async with asyncio.timeout(10):
                await broker.publish(run.model_dump(mode="json"), run.subject(model), stream=Stream.LIFECYCLE)
        await until(lambda: bool(parts.challengers.at_hand("other", quick.digest)), "the other model's challenger")
        assert not parts.challengers.at_hand("m", slow.digest)
        await parts.follower.stop()
    assert not parts.challengers.at_hand("m", slow.digest), "what is being fetched ends with the worker"


async def test_so_many_challengers_are_prefetched_at_once(parts: Parts, bus: SlowBus) -> None:
    refs = [await parts.bundle(share / 10) for share in range(1, PREFETCHES + 3)]
    bus.held = {ref.digest: asyncio.Event() for ref in refs}
    for index, ref in enumerate(refs):
        parts.challengers.begin(parts.challengers.prefetch(f"m{index}", ref))
    await until(lambda: bus.begun == PREFETCHES, "the first ones")
    parts.follower.follow("n", promoted(await parts.bundle(0.95), "1", 1))
    await until(lambda: version(parts, "n") == "1", "a promotion, which waits for none of them")
    assert bus.begun == PREFETCHES + 1
    bus.held[refs[0].digest].set()
    await until(lambda: bus.begun == PREFETCHES + 2, "the next one")
    await parts.follower.stop()


async def test_a_bundle_that_cannot_be_had_is_asked_for_again(parts: Parts, bus: SlowBus, tmp_path: Path) -> None:
    ref = await parts.bundle(0.25)
    stored = tmp_path / ref.object
    content = stored.read_bytes()
    stored.unlink()
    parts.follower.follow("m", promoted(ref, "1", 1))
    await parts.follower.settled()
    ((_, said),) = await parts.reported(ModelRejected, 1)
    assert isinstance(said, ModelRejected)
    assert said.check == "download"
    stored.write_bytes(content)
    await until(lambda: version(parts, "m") == "1", "the second attempt")


async def test_a_newer_change_ends_the_asking(parts: Parts) -> None:
    ref = await parts.bundle(0.25)
    missing = promoted(MISSING, "1", 1)
    parts.follower.follow("m", missing)
    await parts.follower.settled()
    parts.follower.follow("m", promoted(ref, "2", 2))
    await parts.follower.settled()
    parts.follower._begin("m", missing, attempt=2)
    await parts.follower.settled()
    assert version(parts, "m") == "2"
    await parts.reported(ModelServing, 1)
    assert len(parts.bus.events(ModelRejected)) == 1


async def test_of_a_withdrawn_model_only_what_was_never_promoted_stays_in_memory(parts: Parts) -> None:
    former, champion, challenger = [await parts.bundle(share) for share in (0.1, 0.2, 0.3)]
    for generation, bundle in enumerate((former, champion), start=1):
        parts.follower.follow("m", promoted(bundle, str(generation), generation))
        await parts.follower.settled()
    served = [weakref.ref(parts.challengers.at_hand("m", bundle.digest)) for bundle in (former, champion)]
    assert all(one() for one in served)
    parts.follower.follow("m", withdrawn(3))
    await parts.follower.settled()

    def are_gone() -> bool:
        gc.collect()
        return [one() for one in served] == [None, None]

    await until(are_gone, "what was served, once it is reported, to be gone")

    parts.follower.follow("m", promoted(champion, "2", 4))
    await parts.follower.settled()
    await parts.challengers.prefetch("m", challenger)
    parts.follower.follow("m", withdrawn(5))
    await parts.follower.settled()
    assert parts.challengers.at_hand("m", champion.digest) is None
    assert parts.challengers.at_hand("m", challenger.digest)
    parts.follower.follow("m", promoted(challenger, "3", 6))
    await parts.follower.settled()
    parts.follower.follow("m", withdrawn(7))
    await parts.follower.settled()
    assert parts.challengers.at_hand("m", challenger.digest) is None


async def test_a_withdrawn_model_is_known_and_not_served(parts: Parts) -> None:
    parts.follower.follow("m", promoted(await parts.bundle(0.25), "1", 1))
    parts.follower.follow("m", withdrawn(2))
    await parts.follower.settled()
    assert parts.slots.models == ["m"]
    assert version(parts, "m") is None


async def test_a_restart_serves_what_was_served_without_the_bus(parts: Parts) -> None:
    for model, share in (("a", 0.25), ("b", 0.75)):
        parts.follower.follow(model, promoted(await parts.bundle(share), "1", 1))
    parts.follower.follow("gone", promoted(await parts.bundle(0.25), "1", 1))
    parts.follower.follow("gone", withdrawn(2))
    await parts.follower.settled()
    empty = parts.folder / "empty"
    empty.mkdir()
    again = Parts(parts.folder, InMemoryBus(empty))
    await again.follower.restore()
    assert [champion.model for champion in again.slots.champions] == ["a", "b"]
    assert again.slots.models == ["a", "b", "gone"]
    again.follower.follow("a", promoted(MISSING, "1", 1))
    again.follower.follow("gone", withdrawn(2))
    await again.follower.settled()
    assert version(again, "a") == "1", "a replay of what was restored is not news"
    assert {model for model, _ in await again.reported(ModelServing, 2)} == {"a", "b"}


async def test_what_cannot_be_restored_is_left_to_the_bus(parts: Parts) -> None:
    ref = await parts.bundle(0.25)
    event = promoted(ref, "1", 1)
    parts.follower.follow("m", event)
    await parts.follower.settled()
    (parts.folder / "cache" / "bundles" / ref.object).unlink()
    again = Parts(parts.folder, parts.bus)
    await again.follower.restore()
    assert version(again, "m") is None
    again.follower.follow("m", event)
    await again.follower.settled()
    assert version(again, "m") == "1"


async def test_so_many_verified_models_are_kept_and_the_rest_is_loaded_again(parts: Parts) -> None:
    refs = [await parts.bundle(share) for share in (0.2, 0.3, 0.4)]
    models = [await parts.challengers.get("m", ref) for ref in refs]
    assert [parts.challengers.at_hand("m", ref.digest) for ref in refs] == [None, *models[1:]]
    assert await parts.challengers.get("m", refs[1]) is models[1]
    assert await parts.challengers.get("m", refs[0]) is not models[0]
    assert not parts.challengers.at_hand("m", refs[2].digest), "the one that was not needed longest leaves"


async def test_who_is_promoted_again_is_needed(parts: Parts) -> None:
    refs = [await parts.bundle(share) for share in (0.2, 0.3, 0.4)]
    for ref in refs[:2]:
        await parts.challengers.get("m", ref)
    parts.follower.follow("m", promoted(refs[0], "1", 1))
    await parts.challengers.get("m", refs[2])
    assert parts.challengers.at_hand("m", refs[0].digest), "it serves"
    assert not parts.challengers.at_hand("m", refs[1].digest)


async def test_a_challenger_that_failed_is_tried_again(parts: Parts, tmp_path: Path) -> None:
    ref = await parts.bundle(0.25)
    stored = tmp_path / ref.object
    stored.rename(tmp_path / "away")
    with pytest.raises(BundleError):
        await parts.challengers.get("m", ref)
    (tmp_path / "away").rename(stored)
    await parts.challengers.get("m", ref)


async def test_reports_survive_a_bus_that_is_away_and_are_said_once(parts: Parts) -> None:
    ref = await parts.bundle(0.25)
    for _ in range(2):  # a worker that starts again says the same of the same generation
        again = Parts(parts.folder, parts.bus)
        again.follower.follow("m", promoted(ref, "1", 1))
        await again.follower.settled()
        await again.reported(ModelServing, 1)
    assert len(parts.bus.events(ModelServing)) == 1


async def test_a_model_that_is_not_served_here_is_left_alone(tmp_path: Path, parts: Parts, bus: SlowBus) -> None:
    ref = await parts.bundle(0.25)
    for model in ("m", "other"):
        parts.follower.follow(model, promoted(ref, "1", 1))
    await parts.follower.settled()
    picky = Parts(tmp_path, bus, only=frozenset({"m"}))
    await picky.follower.restore()
    assert picky.slots.models == ["m"], "the cache remembers both"
    picky.follower.follow("other", promoted(MISSING, "2", 2))
    await picky.follower.settled()
    assert picky.slots.models == ["m"]
    assert picky.follower.knows("other", "l", 2), "it must not be read again and again"
    assert not picky.follower.knows("m", "l", 2)


async def test_challengers_are_prefetched_for_the_models_served_here(tmp_path: Path, bus: SlowBus) -> None:
    picky = Parts(tmp_path, bus, only=frozenset({"m"}))
    ref = await picky.bundle(0.25)
    finished = RunFinished(request_id="r", run_id="r", version="0", metrics={}, bundle=ref)
    for model in ("m", "other"):
        await prefetch(model, finished, picky.challengers, picky.slots)
    assert picky.challengers.at_hand("m", ref.digest)
    assert not picky.challengers.at_hand("other", ref.digest)
    assert picky.slots.models == ["m"]
