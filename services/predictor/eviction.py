"""Eviction: which bundles leave the disk cache when it has grown past its bound."""

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


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
        if path.suffix != ".lock":
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
