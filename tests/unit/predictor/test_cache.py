"""The disk cache: what is in it survives damage, concurrency and restarts; pointers never go back."""

import asyncio
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.predictor.cache import Cache
from services.predictor.eviction import ASIDE
from services.predictor.meters import Meters
from services.predictor.verifier import Verifier
from shared.errors import BundleError
from shared.events import BundleRef, ModelPromoted, ModelWithdrawn
from shared.fakes import InMemoryBus
from shared.verification import VerifiedModel, verify
from tests.unit.predictor.conftest import Parts, promoted, withdrawn

REF = BundleRef(object="o", digest="sha256:1", size=1)


class CountingBus(InMemoryBus):
    """A bus that counts downloads, and damages them on demand."""

    downloads = 0
    damaged = False

    async def fetch_bundle(self, ref: BundleRef, destination: Path) -> None:
        self.downloads += 1
        await super().fetch_bundle(ref, destination)
        if self.damaged:
            await asyncio.to_thread(os.truncate, destination, 700)


@pytest.fixture
def bus(tmp_path: Path) -> CountingBus:
    return CountingBus(tmp_path)


@pytest.fixture
def parts(tmp_path: Path, bus: CountingBus) -> Parts:
    return Parts(tmp_path, bus)


def left_in_scratch(parts: Parts) -> list[Path]:
    return [path for worker in (parts.folder / "cache" / "scratch").iterdir() for path in worker.iterdir()]


def archives(parts: Parts) -> list[Path]:
    return [path for path in (parts.folder / "cache" / "bundles").iterdir() if path.suffix != ".lock"]


async def test_workers_download_a_bundle_once(parts: Parts, bus: CountingBus) -> None:
    ref = await parts.bundle(0.25)
    other = Cache(parts.folder / "cache", Verifier(30), Meters(), 10**9)
    other.prepare()
    found = await asyncio.gather(*(cache.verified(ref, bus) for cache in (parts.cache, other, parts.cache)))
    assert [model.manifest.digest() for model in found] == [ref.digest] * 3
    assert bus.downloads == 1
    await parts.cache.verified(ref, None)
    assert left_in_scratch(parts) == []


async def test_who_waits_for_a_download_leaves_its_threads_to_it(parts: Parts, bus: CountingBus) -> None:
    ref = await parts.bundle(0.25)
    with ThreadPoolExecutor(2) as threads:
        asyncio.get_running_loop().set_default_executor(threads)
        async with asyncio.timeout(30):
            await asyncio.gather(*(parts.cache.verified(ref, bus) for _ in range(12)))
    assert bus.downloads == 1


async def test_a_damaged_entry_is_fetched_again(parts: Parts, bus: CountingBus) -> None:
    ref = await parts.bundle(0.25)
    await parts.cache.verified(ref, bus)
    (archive,) = archives(parts)
    os.truncate(archive, 700)
    await parts.cache.verified(ref, bus)
    assert bus.downloads == 2
    archive.write_bytes(b"")
    with pytest.raises(BundleError, match="NATS cannot be reached") as failed:
        await parts.cache.verified(ref, None)
    assert failed.value.check == "download"


async def test_beyond_its_bound_the_cache_keeps_champions_and_the_newest(parts: Parts, bus: CountingBus) -> None:
    small = Cache(parts.folder / "cache", Verifier(30), Meters(), max_bytes=1)
    champion, former, newest = [await parts.bundle(share) for share in (0.2, 0.3, 0.4)]
    small.remember("m", promoted(champion, "1", 1))
    for ref in (champion, former, newest):
        await small.verified(ref, bus)
    assert {path.name for path in archives(parts)} == {ref.digest.replace(":", "-") for ref in (champion, newest)}
    await small.verified(former, bus)
    assert bus.downloads == 4, "what was evicted is fetched again"


async def test_what_becomes_champion_while_others_are_evicted_stays(
    parts: Parts, bus: CountingBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    former, newest = [await parts.bundle(share) for share in (0.3, 0.4)]
    await parts.cache.verified(former, bus)
    small = Cache(parts.folder / "cache", Verifier(30), Meters(), max_bytes=1)
    remembered = small.remembered

    def and_then_another_worker_remembers_one() -> list[tuple[str, ModelPromoted | ModelWithdrawn]]:
        found = remembered()
        parts.cache.remember("m", promoted(former, "1", 1))
        return found

    monkeypatch.setattr(small, "remembered", and_then_another_worker_remembers_one)
    await small.verified(newest, bus)
    assert small.has(former)
    assert {path.name for path in archives(parts)} == {ref.digest.replace(":", "-") for ref in (former, newest)}


async def test_what_is_verified_while_others_are_evicted_is_still_there(tmp_path: Path, bus: CountingBus) -> None:
    parts = Parts(tmp_path, bus, cache_bytes=1)
    refs = [await parts.bundle(0.02 * share) for share in range(1, 13)]  # more than are verified at once
    found = await asyncio.gather(*(parts.cache.verified(ref, bus) for ref in refs))
    assert [model.manifest.digest() for model in found] == [ref.digest for ref in refs]
    assert bus.downloads == len(refs)


async def test_what_another_worker_evicts_while_it_is_verified_is_still_there(parts: Parts, bus: CountingBus) -> None:
    ref = await parts.bundle(0.25)
    await parts.cache.verified(ref, bus)
    (archive,) = archives(parts)

    def meanwhile_evicted(own: Path, folder: Path, digest: str) -> VerifiedModel:
        archive.unlink()
        return verify(own, folder, digest)

    other = Cache(parts.folder / "cache", Verifier(30, meanwhile_evicted), Meters(), 10**9)
    other.prepare()
    assert (await other.verified(ref, None)).manifest.digest() == ref.digest


@pytest.mark.parametrize("shortage", [errno.EMFILE, errno.EIO])
async def test_what_a_host_is_short_of_takes_no_sound_archive_away(
    parts: Parts, bus: CountingBus, monkeypatch: pytest.MonkeyPatch, shortage: int
) -> None:
    ref = await parts.bundle(0.25)
    await parts.cache.verified(ref, bus)
    with monkeypatch.context() as patched:
        patched.setattr("shared.bundle.plain_files", Mock(side_effect=OSError(shortage, os.strerror(shortage))))
        with pytest.raises(BundleError) as failed:
            await parts.cache.verified(ref, bus)
    assert failed.value.check == "download"
    await parts.cache.verified(ref, None)


async def test_a_file_system_without_second_names_does(
    parts: Parts, bus: CountingBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", Mock(side_effect=PermissionError(errno.EPERM, "Operation not permitted")))
    ref = await parts.bundle(0.25)
    await parts.cache.verified(ref, bus)
    await parts.cache.verified(ref, None)
    assert left_in_scratch(parts) == []


async def test_what_a_killed_worker_had_put_aside_is_back_at_the_next_start(parts: Parts, bus: CountingBus) -> None:
    ref = await parts.bundle(0.3)
    await parts.cache.verified(ref, bus)
    (archive,) = archives(parts)
    archive.rename(archive.with_suffix(ASIDE))
    assert not parts.cache.has(ref)
    parts.cache.prepare()
    await parts.cache.verified(ref, None)


async def test_what_arrives_damaged_does_not_pass(parts: Parts, bus: CountingBus) -> None:
    ref = await parts.bundle(0.25)
    bus.damaged = True
    with pytest.raises(BundleError) as failed:
        await parts.cache.verified(ref, bus)
    assert failed.value.check == "digest"
    bus.damaged = False
    await parts.cache.verified(ref, bus)


async def test_wrong_answers_are_not_asked_for_again(parts: Parts, bus: CountingBus) -> None:
    ref = await parts.bundle(0.25, golden_share=0.26)
    for _ in range(2):
        with pytest.raises(BundleError) as failed:
            await parts.cache.verified(ref, bus)
        assert failed.value.check == "golden"
    assert bus.downloads == 1


async def test_a_disk_that_cannot_be_written_is_a_failed_download(parts: Parts, bus: CountingBus) -> None:
    ref = await parts.bundle(0.25)
    shutil.rmtree(parts.folder / "cache" / "scratch")
    with pytest.raises(BundleError, match="cannot be cached") as failed:
        await parts.cache.verified(ref, bus)
    assert failed.value.check == "download"


generations = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 9), st.booleans()), min_size=1)


@given(generations)
@settings(max_examples=30, deadline=None)
def test_a_pointer_never_goes_back_within_a_ledger(
    tmp_path_factory: pytest.TempPathFactory, arrivals: list[tuple[str, int, bool]]
) -> None:
    cache = Cache(tmp_path_factory.mktemp("cache"), Verifier(30), Meters(), 10**9)
    cache.prepare()
    expected: tuple[str, int] = ("", -1)
    for ledger, generation, gone in arrivals:
        cache.remember("m", withdrawn(generation, ledger) if gone else promoted(REF, "1", generation, ledger))
        if ledger != expected[0] or generation > expected[1]:
            expected = (ledger, generation)
        ((model, change),) = cache.remembered()
        assert (model, change.ledger, change.generation) == ("m", *expected)


@pytest.mark.parametrize("model", ["a.b", "ü/% *", "模型" * 120, "a", ".json"])
def test_any_model_name_is_remembered(parts: Parts, model: str) -> None:
    event = promoted(REF, "1", 1)
    parts.cache.remember(model, event)
    parts.cache.remember("another", withdrawn(2))
    assert (model, event) in parts.cache.remembered()
    assert len(parts.cache.remembered()) == 2


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"subject":"model.promoted.m","event":{}}', b"\xff", b'{"subject":1,"event":1}']
)
def test_a_pointer_that_cannot_be_read_is_left_out_and_written_anew(parts: Parts, content: bytes) -> None:
    (parts.folder / "cache" / "champions" / "m.json").write_bytes(content)
    assert parts.cache.remembered() == []
    parts.cache.remember("m", withdrawn(1))
    assert parts.cache.remembered() == [
        ("m", withdrawn(1).model_copy(update={"committed_at": parts.cache.remembered()[0][1].committed_at}))
    ]


def test_what_killed_workers_left_is_removed(parts: Parts) -> None:
    scratch = parts.folder / "cache" / "scratch"
    (kept,) = scratch.iterdir()
    (scratch / "left" / "half a bundle").mkdir(parents=True)
    Cache(parts.folder / "cache", Verifier(30), Meters(), 10**9).prepare()
    assert len(list(scratch.iterdir())) == 2
    assert kept.exists()
    assert not (scratch / "left").exists()


HOLD = """
import asyncio, sys
from pathlib import Path
from services.predictor.cache import _locked
async def hold():
    async with _locked(Path(sys.argv[1])):
        print("held", flush=True)
        await asyncio.sleep(600)
asyncio.run(hold())
"""


@contextmanager
def held_by_another_process(lock: Path) -> Iterator[None]:
    """Hold a bundle's lock in a process that is killed in the end."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            yield
        finally:
            holder.kill()


async def test_a_bundle_is_free_again_when_who_downloads_it_is_killed(parts: Parts, bus: CountingBus) -> None:
    ref = await parts.bundle(0.25)
    lock = parts.folder / "cache" / "bundles" / f"{ref.digest.replace(':', '-')}.lock"
    with held_by_another_process(lock):
        waiting = asyncio.create_task(parts.cache.verified(ref, bus))
        await asyncio.wait([waiting], timeout=0.2)
        assert (waiting.done(), bus.downloads) == (False, 0), "another process downloads it"
    async with asyncio.timeout(30):
        assert (await waiting).manifest.digest() == ref.digest
    assert bus.downloads == 1
