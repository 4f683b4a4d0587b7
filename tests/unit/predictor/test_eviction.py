"""What leaves the cache: never what must stay, never more than has to, the least recently used first."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from services.predictor.eviction import Entry, entries, superfluous

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


def test_locks_are_no_entries(tmp_path: Path) -> None:
    (tmp_path / "sha256-1").write_bytes(b"abc")
    (tmp_path / "sha256-1.lock").touch()
    assert [(entry.path.name, entry.size) for entry in entries(tmp_path)] == [("sha256-1", 3)]
