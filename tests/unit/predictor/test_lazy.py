"""Lazy slots: a champion is loaded for whoever asks first, once; from then on its model is followed as an eager one."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.predictor.handlers import prefetch
from services.predictor.heartbeat import alive
from services.predictor.settings import PredictorSettings
from shared.errors import AmbiguousModelError, NoChampionError, NotLoadedError, NotServedError
from shared.events import BundleRef, ModelRejected, ModelServing, RunFinished
from shared.fakes import InMemoryBus
from tests import bundles
from tests.unit.predictor.api import Predictor
from tests.unit.predictor.conftest import Parts, promoted, until, withdrawn
from tests.unit.predictor.test_cache import CountingBus
from tests.unit.predictor.test_follower import SlowBus

MISSING = BundleRef(object="sha256-none", digest="sha256:none", size=1)


@pytest.fixture
def bus(tmp_path: Path) -> CountingBus:
    return CountingBus(tmp_path)


@pytest.fixture
def parts(tmp_path: Path, bus: CountingBus) -> Parts:
    return Parts(tmp_path, bus, are_lazy=True)


async def announced(parts: Parts, share: float = 0.25, model: str = "m", version: str = "1") -> BundleRef:
    ref = await parts.bundle(share)
    parts.follower.follow(model, promoted(ref, version, int(version)))
    await parts.follower.settled()
    return ref


async def test_nothing_is_fetched_before_somebody_asks_and_then_once_for_all(parts: Parts, bus: CountingBus) -> None:
    await announced(parts)
    assert bus.downloads == 0
    with pytest.raises(NotLoadedError):
        parts.slots.champion("m")
    found = await asyncio.gather(*(parts.loader.load("m") for _ in range(20)))
    assert bus.downloads == 1
    assert all(champion is parts.slots.champion("m") for champion in found)
    reports = await parts.reported(ModelServing, 1)
    assert [(model, event.version) for model, event in reports if isinstance(event, ModelServing)] == [("m", "1")]


async def test_once_loaded_it_is_followed_without_being_asked_for(parts: Parts, bus: CountingBus) -> None:
    await announced(parts)
    await parts.loader.load("m")
    later = await parts.bundle(0.75)
    await prefetch(
        "m",
        RunFinished(request_id="r", run_id="r", version="2", metrics={}, bundle=later),
        parts.challengers,
        parts.slots,
    )
    assert parts.challengers.at_hand("m", later.digest)
    parts.follower.follow("m", promoted(later, "2", 2))
    await parts.follower.settled()
    assert parts.slots.champion("m").version == "2"


async def test_challengers_of_what_is_not_loaded_are_left_alone(parts: Parts, bus: CountingBus) -> None:
    ref = await announced(parts)
    await prefetch(
        "m",
        RunFinished(request_id="r", run_id="r", version="1", metrics={}, bundle=ref),
        parts.challengers,
        parts.slots,
    )
    assert bus.downloads == 0


async def test_the_last_change_counts(parts: Parts, bus: CountingBus) -> None:
    await announced(parts, 0.25)
    await announced(parts, 0.75, version="2")
    assert (await parts.loader.load("m")).version == "2"
    await announced(parts, 0.25, "gone")
    parts.follower.follow("gone", withdrawn(2))
    await parts.follower.settled()
    with pytest.raises(NoChampionError):
        parts.slots.champion("gone")
    assert parts.slots.served == ["m"]
    assert bus.downloads == 1


async def test_what_fails_its_checks_is_rejected_once_and_everybody_is_told(parts: Parts, bus: CountingBus) -> None:
    bad = await parts.bundle(0.75, golden_share=0.7)
    parts.follower.follow("m", promoted(bad, "1", 1))
    await parts.follower.settled()
    told = await asyncio.gather(*(parts.loader.load("m") for _ in range(3)), return_exceptions=True)
    assert {type(error) for error in told} == {NotServedError}
    assert "m is not served here: version 1: the model no longer gives its golden answers" in str(told[0])
    with pytest.raises(NotServedError):
        parts.slots.champion("m")
    assert parts.slots.served == []
    await parts.reported(ModelRejected, 1)
    assert len(parts.bus.events(ModelRejected)) == bus.downloads == 1
    await announced(parts, 0.5, version="2")
    assert parts.slots.champion("m").version == "2", "who was asked for is followed as an eager model"


async def test_once_loaded_a_version_that_fails_leaves_the_old_one(parts: Parts) -> None:
    await announced(parts)
    await parts.loader.load("m")
    parts.follower.follow("m", promoted(await parts.bundle(0.75, golden_share=0.7), "2", 2))
    await parts.follower.settled()
    assert parts.slots.champion("m").version == "1"
    assert parts.slots.of("m").problem is not None


async def test_what_cannot_be_fetched_is_asked_for_again(parts: Parts, tmp_path: Path) -> None:
    ref = await announced(parts)
    stored = tmp_path / ref.object
    stored.rename(tmp_path / "away")
    with pytest.raises(NotServedError, match="version 1"):
        await parts.loader.load("m")
    (tmp_path / "away").rename(stored)
    await until(lambda: parts.slots.of("m").champion is not None, "the second attempt")
    assert parts.slots.of("m").problem is None


async def test_who_stops_waiting_leaves_the_load_to_the_others(parts: Parts, bus: CountingBus) -> None:
    await announced(parts)
    hasty, patient = asyncio.create_task(parts.loader.load("m")), asyncio.create_task(parts.loader.load("m"))
    await asyncio.sleep(0)
    hasty.cancel()
    assert (await patient).version == "1"
    assert (hasty.cancelled(), bus.downloads) == (True, 1)


async def test_who_waits_for_what_is_overtaken_gets_the_newest(tmp_path: Path) -> None:
    bus = SlowBus(tmp_path)
    parts = Parts(tmp_path, bus, are_lazy=True)
    slow = await announced(parts)
    bus.held[slow.digest] = asyncio.Event()
    asking = asyncio.create_task(parts.loader.load("m"))
    await bus.waiting.wait()
    for share, number in ((0.5, 2), (0.75, 3)):
        parts.follower.follow("m", promoted(await parts.bundle(share), str(number), number))
    async with asyncio.timeout(10):
        assert (await asking).version == "3"
    await parts.follower.stop()


async def test_a_restart_remembers_and_loads_nothing(parts: Parts, bus: CountingBus) -> None:
    await announced(parts, model="loaded")
    await parts.loader.load("loaded")
    await announced(parts, model="asleep")
    away = parts.folder / "empty"
    away.mkdir()
    again = Parts(parts.folder, InMemoryBus(away), are_lazy=True)
    await again.follower.restore()
    assert (again.slots.champions, again.slots.served) == ([], ["asleep", "loaded"])
    assert (await again.loader.load("loaded")).version == "1", "from the disk cache"
    eager = Parts(parts.folder, bus)
    await eager.follower.restore()
    assert eager.slots.served == ["asleep", "loaded"]


async def with_room_for(parts: Parts, most: int, *models: str) -> Parts:
    """Return a worker that keeps so many models loaded, and knows these."""
    small = Parts(parts.folder, parts.bus, are_lazy=True, most_loaded=most)
    for number, model in enumerate(models, 1):
        await announced(small, number / 10, model)
    return small


def loaded(parts: Parts) -> list[str]:
    return [champion.model for champion in parts.slots.champions]


async def test_what_was_not_asked_for_the_longest_time_makes_room(parts: Parts, bus: CountingBus) -> None:
    small = await with_room_for(parts, 2, "a", "b", "c")
    first = await small.loader.load("a")
    await small.loader.load("b")
    first.usage.last += 60
    await small.loader.load("c")
    assert loaded(small) == ["a", "c"]
    assert small.slots.served == ["a", "b", "c"]
    await announced(small, 0.9, "b", version="2")
    assert loaded(small) == ["a", "c"], "what was unloaded is lazy again"
    assert (await small.loader.load("b")).version == "2"
    assert loaded(small) == ["a", "b"]
    assert (await small.loader.load("c")).version == "1"
    assert bus.downloads == 4, "what was unloaded comes from the disk cache"
    await small.reported(ModelServing, 4)
    assert len(small.bus.events(ModelServing)) == 4, "who serves again says nothing new"


async def test_where_all_are_asked_for_at_once_all_are_answered(parts: Parts) -> None:
    small = await with_room_for(parts, 1, "a", "b", "c")
    found = await asyncio.gather(*(small.loader.load(model) for model in "abc" * 5))
    assert [champion.model for champion in found] == [*"abc" * 5]
    assert len(loaded(small)) == 1


async def test_the_only_version_that_passed_its_checks_is_not_unloaded(parts: Parts) -> None:
    small = await with_room_for(parts, 1, "a", "b")
    await small.loader.load("a")
    small.follower.follow("a", promoted(await small.bundle(0.75, golden_share=0.7), "2", 2))
    await small.follower.settled()
    await small.loader.load("b")
    assert loaded(small) == ["a", "b"], "version 1 of a could not be loaded again: version 2 is what was promoted last"


async def test_the_heartbeat_names_what_is_not_loaded(parts: Parts) -> None:
    await announced(parts, model="asleep", version="2")
    await announced(parts, model="loaded")
    await parts.loader.load("loaded")
    said = alive(parts.slots, PredictorSettings(predictor_name="here"), 0)
    assert [(one.model, one.version, one.generation, one.loaded) for one in said.models] == [
        ("loaded", "1", 1, True),
        ("asleep", "2", 2, False),
    ]


async def test_which_model_is_meant_does_not_depend_on_what_is_loaded(parts: Parts) -> None:
    await announced(parts, model="a")
    with pytest.raises(NotLoadedError) as error:
        parts.slots.default()
    assert error.value.model == "a"
    await parts.loader.load("a")
    assert parts.slots.default().model == "a"
    await announced(parts, model="b")
    with pytest.raises(AmbiguousModelError, match="a, b"):
        parts.slots.default()


@pytest.fixture
def lazy(predictor: Predictor, tmp_path: Path) -> Predictor:
    """A predictor whose model m waits, and is loaded by who asks."""
    predictor.slots.of("m").announce(promoted(BundleRef(object="o", digest="sha256:1", size=1), "3", 3))

    async def load(model: str) -> Any:
        return predictor.serve(model, bundles.classifier(tmp_path, 0.25), "3")

    predictor.load = load  # type: ignore[method-assign]
    return predictor


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/predict", {"x": 1}),
        ("/models/m/predict", {"x": 1}),
        ("/invocations", {"inputs": {"x": [1]}}),
        ("/v2/models/m/versions/3/infer", {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]}),
    ],
)
async def test_the_first_request_is_answered(lazy: Predictor, path: str, body: Any) -> None:
    for _ in range(2):
        answer = await lazy.client.post(path, json=body)
        assert (answer.status_code, answer.headers["baton-version"]) == (200, "3")


async def test_what_is_told_of_it_loads_nothing_but_its_inputs(lazy: Predictor) -> None:
    async def told(path: str) -> httpx.Response:
        return await lazy.client.get(path)

    unloaded = {"model": "m", "version": "3", "generation": 3, "ledger": "l", "loaded": False, "digest": "sha256:1"}
    assert (await told("/models")).json()["models"] == [(await told("/models/m")).json()] == [unloaded]
    assert (await told("/ready")).json()["models"] == ["m"]
    assert (await told("/v2/models/m/ready")).json() == {"name": "m", "ready": True}
    assert (await told("/v2/models/m/versions/4/ready")).status_code == 404
    document = (await told("/openapi.json")).json()
    assert "described once they were asked for: m." in document["info"]["description"]
    assert "/models/m/predict" not in document["paths"]
    assert lazy.slots.champions == []
    assert (await told("/v2/models/m")).json()["inputs"][0]["name"] == "x"
    document = (await told("/openapi.json")).json()
    assert "asked for" not in document["info"]["description"]
    assert "/models/m/predict" in document["paths"]
    assert (await told("/models/m")).json()["loaded"] is True


async def test_a_load_that_takes_too_long_or_fails_is_said(tmp_path: Path) -> None:
    predictor = Predictor(tmp_path, request_timeout_s=0.1)
    predictor.slots.of("m").announce(promoted(MISSING, "3", 3))

    async def hangs(model: str) -> Any:
        await asyncio.Event().wait()

    async def fails(model: str) -> Any:
        raise NotServedError("m is not served here: version 3: off")

    async with predictor.client as client:
        for load, status, detail in ((hangs, 504, "not loaded within 0.1 s"), (fails, 503, "version 3: off")):
            predictor.load = load  # type: ignore[method-assign]
            answer = await client.post("/models/m/predict", json={"x": 1})
            assert (answer.status_code, detail in answer.json()["detail"]) == (status, True)
            answer = await client.get("/v2/models/m")
            assert (answer.status_code, detail in answer.json()["error"]) == (status, True)
        assert answer.headers["retry-after"] == "1"
    predictor.executor.close()
