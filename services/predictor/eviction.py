"""Eviction: which bundles leave the disk cache when it has grown past its bound."""

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from services.predictor.meters import Meters
from shared.locks import take
from shared.telemetry import logger

LOCK, ASIDE = "eviction.lock", ".evicted"

log = logger(__name__)


class Eviction:
    """Removes archives from a folder until the rest is at most `bound` bytes; one worker does so at a time.

    What is to go is put aside first, and then `champions`, the names that stay, are asked for again: one may have been
    remembered since. Who remembers one looks for its archive afterwards, so that one of both sees what the other did.
    """

    def __init__(self, folder: Path, bound: int, champions: Callable[[], Collection[str]], meters: Meters) -> None:
        self._folder = folder
        self._bound = bound
        self._champions = champions
        self._meters = meters

    def prepare(self) -> None:
        """Put back what a worker had put aside when it was killed."""
        with (self._folder / LOCK).open("w") as lock:
            if take(lock):
                for aside in self._folder.glob(f"*{ASIDE}"):
                    aside.replace(aside.with_suffix(""))

    def evict(self, newest: Path) -> None:
        """Remove what was not used for the longest time, but not what came last, unless another worker does so."""
        with (self._folder / LOCK).open("w") as lock:
            if not take(lock) or not superfluous(found := entries(self._folder), (), self._bound):
                return
            going = superfluous(found, {newest.name, *self._champions()}, self._bound)
            for entry in going:
                _move(entry.path, entry.path.with_suffix(ASIDE))
            champions = self._champions()
            for entry in going:
                aside = entry.path.with_suffix(ASIDE)
                if entry.path.name in champions:
                    _move(aside, entry.path)
                else:
                    self._remove(entry, aside)

    def _remove(self, entry: "Entry", aside: Path) -> None:
        aside.unlink(missing_ok=True)
        self._meters.bundle("evicted")
        log.info("bundle evicted from the cache", file=entry.path.name, size=entry.size)


@dataclass(frozen=True)
class Entry:
    """An archive in the cache: its file, its bytes, and when it was last used (seconds since 1970)."""

    path: Path
    size: int
    used: float


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


def _move(path: Path, to: Path) -> None:
    with suppress(FileNotFoundError):  # it was damaged, and another worker removed it
        path.replace(to)
