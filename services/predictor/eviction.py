"""Eviction: which bundles leave the disk cache when it has grown past its bound."""

import fcntl
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from services.predictor.meters import Meters
from shared.locks import take
from shared.telemetry import logger

LOCK, ASIDE = "eviction.lock", ".evicted"

log = logger(__name__)


@dataclass(frozen=True)
class Entry:
    """An archive in the cache: its file, its bytes, and when it was last used (seconds since 1970)."""

    path: Path
    size: int
    used: float


class Eviction:
    """Removes archives from a folder until the rest is at most `bound` bytes; one worker does so at a time.

    What is to go is put aside first, and then `champions`, the names that stay, are asked for again: one may have been
    remembered since. Who remembers one that is loaded looks for its archive afterwards, so that one of both sees what
    the other did.
    """

    def __init__(self, folder: Path, bound: int, champions: Callable[[], Collection[str]], meters: Meters) -> None:
        self._folder = folder
        self._bound = bound
        self._champions = champions
        self._meters = meters

    def prepare(self) -> None:
        """Put back what a worker had put aside when it was killed, unless another evicts now, which does so, too."""
        with (self._folder / LOCK).open("w") as lock:
            if take(lock):
                self._put_back()

    def evict(self, newest: Path) -> None:
        """Remove what was not used for the longest time, but not what came last."""
        with (self._folder / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # whoever has it waits for nobody
            self._put_back()
            found = entries(self._folder)
            if superfluous(found, (), self._bound):
                self._remove(superfluous(found, {newest.name, *self._champions()}, self._bound))

    def _remove(self, going: Sequence[Entry]) -> None:
        for entry in going:
            with suppress(FileNotFoundError):  # it was damaged, and another worker removed it
                entry.path.replace(entry.path.with_suffix(ASIDE))
        champions = self._champions()
        for entry in going:
            if entry.path.name not in champions:
                entry.path.with_suffix(ASIDE).unlink(missing_ok=True)
                self._meters.bundle("evicted")
                log.info("bundle evicted from the cache", file=entry.path.name, size=entry.size)
        self._put_back()

    def _put_back(self) -> None:
        """Put back what is aside, unless it was fetched anew meanwhile; who holds the lock does so alone."""
        for aside in self._folder.glob(f"*{ASIDE}"):
            if (archive := aside.with_suffix("")).exists():
                aside.unlink()
            else:
                aside.replace(archive)


def entries(folder: Path) -> list[Entry]:
    """Return the archives in a folder; those that another worker removes meanwhile are left out."""
    found = []
    for path in folder.iterdir():
        if not path.suffix:
            with suppress(FileNotFoundError):
                stat = path.stat()
                found.append(Entry(path, stat.st_size, stat.st_mtime))
    return found


def superfluous(found: Iterable[Entry], keep: Collection[str], bound: int) -> list[Entry]:
    """Return what to remove, the least recently used first, until the rest is at most `bound` bytes.

    What is named in `keep` stays, even if that alone is more.
    """
    by_use = sorted(found, key=lambda entry: entry.used)
    excess = sum(entry.size for entry in by_use) - bound
    gone: list[Entry] = []
    for entry in by_use:
        if excess <= 0:
            break
        if entry.path.name not in keep:
            gone.append(entry)
            excess -= entry.size
    return gone
