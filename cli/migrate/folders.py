"""Folders of a FileStore: what is in them, under printable names, and the small files that hold one value each."""

import os
from codecs import getincrementaldecoder as decoder
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.migrate.fields import clean
from cli.migrate.findings import Findings
from cli.migrate.links import REASON, leads_outside

KEY_LIMIT = 250
LONGEST = 4_000_000  # characters of a value where the database sets no limit
BYTES_PER_CHARACTER = 4


@dataclass(frozen=True)
class Entry:
    """One file below a folder of values: its key in MLflow and where it is."""

    key: str
    path: str


def printable(name: str) -> str:
    """Return a file name as text: a byte that is not UTF-8 becomes `_xHH`, which MLflow takes in names."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "".join(f"_x{ord(c) & 0xFF:02x}" if "\udc80" <= c <= "\udcff" else c for c in name)
    return name


def subfolders(path: Path) -> list[str]:
    """Return the names of a folder's folders in order; a symbolic link to a folder counts."""
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except OSError:
        return []


def value_files(folder: Path, where: str, kind: str, findings: Findings, root: Path) -> Iterator[Entry]:
    """Yield the files below a folder of params, tags or metrics: a key with slashes is a path."""
    if leads_outside(folder, root):
        findings.quarantined(where, kind, REASON)
        return
    taken: set[str] = set()
    for path, name in _files(str(folder), "", lambda name, why: findings.quarantined(f"{where}/{name}", kind, why)):
        key = printable(name)
        if key != name:
            findings.repaired(f"{where}/{key}", kind, "the file's name is not UTF-8: bad bytes became _xHH")
        if leads_outside(Path(path), root):
            findings.quarantined(f"{where}/{key}", kind, REASON)
        elif len(key) > KEY_LIMIT:
            findings.quarantined(
                f"{where}/{key}", kind, f"the name has {len(key)} characters, MLflow holds {KEY_LIMIT}"
            )
        elif key in taken:
            findings.quarantined(f"{where}/{key}", kind, "another file has the same name once bad bytes are replaced")
        else:
            taken.add(key)
            yield Entry(key, path)


def _files(folder: str, prefix: str, lost: Callable[[str, str], None]) -> Iterator[tuple[str, str]]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    except OSError as error:
        lost(printable(prefix), f"cannot be read: {error.strerror}")
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path, f"{prefix}{entry.name}/", lost)
        elif entry.is_file() or entry.is_symlink():
            yield entry.path, prefix + entry.name
        else:
            lost(printable(prefix + entry.name), "is no file")


def read_values(
    folder: Path, where: str, kind: str, findings: Findings, root: Path, limit: int | None
) -> dict[str, str]:
    """Return the params or tags below a folder; what does not fit the database is repaired and noted."""
    values = {}
    for entry in value_files(folder, where, kind, findings, root):
        place = f"{where}/{entry.key}"
        try:
            with open(entry.path, "rb") as file:  # noqa: PTH123 - ten times per run, and Path.open is three times slower
                raw = file.read(BYTES_PER_CHARACTER * (limit or LONGEST) + 1)
        except OSError as error:
            findings.quarantined(place, kind, f"cannot be read: {error.strerror}")
            continue
        values[entry.key] = _fitting(raw, place, kind, findings, limit or LONGEST)
    return values


def _fitting(raw: bytes, place: str, kind: str, findings: Findings, limit: int) -> str:
    try:
        text = decoder("utf-8")().decode(raw, final=len(raw) <= BYTES_PER_CHARACTER * limit)
    except UnicodeDecodeError:
        text = raw.decode(errors="replace")
        findings.repaired(place, kind, "is not UTF-8: bad bytes became \ufffd")
    if "\0" in text:
        findings.repaired(place, kind, "holds NUL characters, which PostgreSQL cannot: taken out")
        text = clean(text)
    if len(text) > limit:
        reason = f"is longer than the {limit:,} characters that MLflow's database holds: cut (the source has the whole)"
        findings.repaired(place, kind, reason)
        text = text[:limit]
    return text
