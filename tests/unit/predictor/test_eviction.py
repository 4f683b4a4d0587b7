"""What leaves the cache: never what must stay, never more than has to, the least recently used first."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from services.predictor.eviction import ASIDE, LOCK, Entry, Eviction, entries, superfluous
from services.predictor.meters import Meters
from shared.locks import take

KEPT = {"0", "1", "2"}
uses = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 5)), max_size=8)


@given(uses, st.integers(0, 300))
def test_it_removes_as_little_as_it_must(uses: list[tuple[int, int]], bound: int) -> None:
    found = [Entry(Path(str(number)), size, used) for number, (size, used) in enumerate(uses)]
    gone = superfluous(found, KEPT, bound)
    left = [entry for entry in found if entry not in gone]
    assert not KEPT & {entry.path.name for entry in gone}
    assert sum(entry.size for entry in left) <= bound or {entry.path.name for entry in left} <= KEPT
    if gone:
        assert sum(entry.size for entry in [*left, gone[-1]]) > bound
    removable = [entry.used for entry in left if entry.path.name not in KEPT]
    assert max((entry.used for entry in gone), default=0) <= min(removable, default=100)


def test_locks_and_what_is_aside_are_no_entries(tmp_path: Path) -> None:
    (tmp_path / "sha256-1").write_bytes(b"abc")
    (tmp_path / "sha256-1.lock").touch()
    (tmp_path / f"sha256-2{ASIDE}").touch()
    assert [(entry.path.name, entry.size) for entry in entries(tmp_path)] == [("sha256-1", 3)]


def test_what_is_aside_never_replaces_what_was_fetched_anew(tmp_path: Path) -> None:
    (tmp_path / "sha256-1").write_bytes(b"anew")
    (tmp_path / f"sha256-1{ASIDE}").write_bytes(b"damaged")
    (tmp_path / f"sha256-2{ASIDE}").write_bytes(b"alone")
    Eviction(tmp_path, 100, set, Meters()).prepare()
    assert {entry.path.name: entry.path.read_bytes() for entry in entries(tmp_path)} == {
        "sha256-1": b"anew",
        "sha256-2": b"alone",
    }
    assert [*tmp_path.glob(f"*{ASIDE}")] == []


def test_who_finds_another_evicting_waits_and_looks_for_itself(tmp_path: Path) -> None:
    newest = tmp_path / "sha256-2"
    with ThreadPoolExecutor(1) as threads, (tmp_path / LOCK).open("w") as lock:
        assert take(lock)
        evicting = threads.submit(Eviction(tmp_path, 3, set, Meters()).evict, newest)
        (tmp_path / "sha256-1").write_bytes(b"abc")
        newest.write_bytes(b"abc")
        os.utime(tmp_path / "sha256-1", (1, 1))
        assert not evicting.done()
        lock.close()
        evicting.result(30)
    assert [entry.path for entry in entries(tmp_path)] == [newest]
