"""The scribe: what was applied last is written last, in steps that leave requests their time, unless it is urgent."""

import asyncio
import resource
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from services.predictor import scribe as module
from services.predictor.background import NICER, NICEST
from services.predictor.cache import Cache
from services.predictor.scribe import Scribe
from shared.events import BundleRef, ModelPromoted, ModelWithdrawn
from tests.unit.predictor.conftest import Parts, niceness, of_threads, promoted, until, withdrawn

REF = BundleRef(object="sha256-a", digest="sha256:a", size=1)
Change = ModelPromoted | ModelWithdrawn


@pytest.fixture
def scribe(parts: Parts) -> Scribe:
    return Scribe(parts.cache, parts.challengers)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    remember = Cache.remember

    def noted(cache: Cache, model: str, change: Change, pause: Callable[[], object]) -> None:
        found.append((model, change.generation))
        remember(cache, model, change, pause)

    monkeypatch.setattr(Cache, "remember", noted)
    return found


async def test_changes_that_come_within_a_rest_are_written_once(
    scribe: Scribe, parts: Parts, written: list[tuple[str, int]]
) -> None:
    for generation in (1, 2, 3):
        scribe.note("m", withdrawn(generation), is_loaded=False)
    scribe.note("other", withdrawn(1), is_loaded=False)
    await until(lambda: len(parts.cache.remembered()) == 2, "both models' last changes, after a rest")
    await scribe.settled()
    assert sorted(written) == [("m", 3), ("other", 1)]


async def test_what_was_noted_before_is_not_written_again(scribe: Scribe, written: list[tuple[str, int]]) -> None:
    change = withdrawn(1)
    for _ in range(2):
        scribe.note("m", change, is_loaded=False)
        await scribe.settled()
    assert written == [("m", 1)]


@of_threads
async def test_who_writes_gives_way_to_who_answers(scribe: Scribe, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []
    monkeypatch.setattr(Cache, "remember", lambda *_, **__: found.append(niceness()))
    scribe.note("m", withdrawn(1), is_loaded=False)
    await scribe.settled()
    assert found == [min(niceness() + NICER, NICEST)]


@pytest.mark.parametrize("hurry", [Scribe.settled, Scribe.stop])
async def test_who_is_waited_for_does_not_rest(
    scribe: Scribe, parts: Parts, monkeypatch: pytest.MonkeyPatch, hurry: Callable[[Scribe], Awaitable[None]]
) -> None:
    monkeypatch.setattr(module, "REST_S", 30.0)
    scribe.note("m", withdrawn(1), is_loaded=False)
    await until(lambda: bool(pointers(parts, ".lock")), "the first step")
    scribe.note("m", withdrawn(2), is_loaded=False)
    async with asyncio.timeout(10):
        await hurry(scribe)
    ((_, last),) = parts.cache.remembered()
    assert last.generation == 2


async def test_once_nobody_waits_there_are_rests_again(
    scribe: Scribe, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REST_S", 30.0)
    scribe.note("m", withdrawn(1), is_loaded=False)
    await asyncio.gather(scribe.settled(), scribe.settled())
    scribe.note("other", withdrawn(1), is_loaded=False)
    await until(lambda: len(pointers(parts, ".lock")) == 2, "the first step")
    assert len(parts.cache.remembered()) == 1
    await scribe.stop()
    assert len(parts.cache.remembered()) == 2


async def test_what_waits_for_its_turn_is_written_once_and_without_rests(
    scribe: Scribe, parts: Parts, written: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REST_S", 30.0)
    scribe.note("m", withdrawn(1), is_loaded=False)
    await until(lambda: bool(pointers(parts, ".lock")), "the first step, and the rest behind it")
    for generation in (1, 2, 3):
        for model in ("m", "n", "o"):
            scribe.note(model, withdrawn(generation), is_loaded=False)
        await asyncio.sleep(1.5 * module.AFTER_S)
    await scribe.settled()
    assert sorted(written) == [("m", 1), ("m", 3), ("n", 3), ("o", 3)]


async def test_there_is_a_rest_between_the_steps_of_writing(parts: Parts) -> None:
    steps: list[bool] = []
    parts.cache.remember("m", promoted(REF, "1", 1), pause=lambda: steps.append(bool(parts.cache.remembered())))
    assert steps == [False] * 4, "a pointer is replaced in the last step"
    assert parts.cache.remembered()


def test_a_pointer_that_is_not_written_whole_replaces_none(parts: Parts) -> None:
    parts.cache.remember("m", promoted(REF, "1", 1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            parts.cache.remember("m", promoted(REF, "2", 2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    ((_, last),) = parts.cache.remembered()
    assert last.generation == 1


def pointers(parts: Parts, suffix: str) -> list[Path]:
    return [*(parts.folder / "cache" / "champions").glob(f"*{suffix}")]
