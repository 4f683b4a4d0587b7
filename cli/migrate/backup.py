"""The backup of a FileStore before anything else: one archive, its digest beside it, both checked.

It is written in parts, each a gzip member of its own (together they are one `.tar.gz`), and each is noted when it is on
disk: an interrupted backup goes on with the part that it was at.
"""

import glob
import gzip
import hashlib
import os
import tarfile
from collections.abc import Callable, Iterator
from datetime import date
from itertools import count
from pathlib import Path
from typing import BinaryIO

from cli.migrate.artifacts import digest
from cli.migrate.tree import SourceError

PART, MEMBERS = 64_000_000, 10_000  # bytes and number of files that are packed and noted together
LISTING = "# listing "  # sha256sum passes over such a line
END = b"\0" * 2 * tarfile.BLOCKSIZE
Member = tuple[Path, tarfile.TarInfo]


def archive_path(folder: Path, root: Path, today: date) -> Path:
    """Return the archive of a source: one that an earlier attempt finished or began, else a new one of today.

    Every project calls its store `mlruns`: so an archive is taken for this one's by the names and sizes in it.
    """
    archives = f"{glob.escape(root.name)}-backup-[0-9]*.tar.gz"
    for notes, is_own in ((".sha256", _is_of(root)), (".parts", _is_begun(root))):
        own = [noted for noted in sorted(folder.glob(archives + notes)) if is_own(noted)]
        if own:
            return own[-1].with_suffix("")
    names = (f"{root.name}-backup-{today:%Y%m%d}{f'-{number}' if number > 1 else ''}.tar.gz" for number in count(1))
    return next(folder / name for name in names if not any(folder.glob(f"{glob.escape(name)}*")))


def _is_of(root: Path) -> Callable[[Path], bool]:
    listed = hashlib.sha256()
    for part in _parts(root):
        for _, info in part:
            listed.update(_line(info))
    return lambda noted: f"{LISTING}{listed.hexdigest()}" in noted.read_text().splitlines()


def _is_begun(root: Path) -> Callable[[Path], bool]:
    return lambda noted: noted.read_text().partition("\n")[0] == _beginning(root)


def _beginning(root: Path) -> str:
    """Return the first line of the notes on an archive that is begun, by which it is told from another project's."""
    return hashlib.sha256(b"".join(_line(info) for _, info in next(_parts(root)))).hexdigest()


def make_backup(root: Path, archive: Path, on_file: Callable[[int], None]) -> str:
    """Archive a source and return the archive's SHA-256; an archive that is there and whole is kept.

    `on_file` is told the bytes of each file. The archive appears under its name only when it is complete, and it is
    read back before it counts.
    """
    noted, parts = (archive.with_name(archive.name + suffix) for suffix in (".sha256", ".parts"))
    if noted.exists() and archive.exists():
        wanted = noted.read_text().split()[0]
        if digest(archive) != wanted:
            raise SourceError(f"{archive} is damaged: its digest is not the one in {noted.name}; move it away")
        return wanted
    draft = archive.with_name(archive.name + ".partial")
    listed = _write(root, draft, parts, on_file)
    _check(draft, listed)
    written = digest(draft)
    draft.replace(archive)
    noted.write_text(f"{written}  {archive.name}\n{LISTING}{listed}\n")
    parts.unlink()
    return written


def _write(root: Path, draft: Path, parts: Path, on_file: Callable[[int], None]) -> str:
    """Write what of the draft is lacking; return a digest over all names and sizes."""
    standing, offset = _standing(root, draft, parts)
    listed = hashlib.sha256()
    draft.touch()
    with draft.open("r+b") as file, parts.open("a") as notes:
        file.truncate(offset)
        file.seek(offset)
        for number, part in enumerate(_parts(root)):
            for _, info in part:
                listed.update(_line(info))
                on_file(info.size)
            if number >= standing:
                _add(part, file)
                notes.write(f"{file.tell()} {listed.hexdigest()}\n")
                notes.flush()
        file.write(gzip.compress(END, mtime=0))
    return listed.hexdigest()


def _standing(root: Path, draft: Path, parts: Path) -> tuple[int, int]:
    """Return how many parts of an earlier attempt stand, and where they end; what follows is forgotten."""
    listed, kept, size = hashlib.sha256(), list[str](), draft.stat().st_size if draft.exists() else 0
    noted = parts.read_text().splitlines(keepends=True)[1:] if parts.exists() else []
    for part, line in zip(_parts(root), noted, strict=False):
        for _, info in part:
            listed.update(_line(info))
        end, said = line.split() if line.endswith("\n") else ("0", "")
        if said != listed.hexdigest() or int(end) > size:  # the source is not what it was
            break
        kept.append(line)
    parts.write_text(f"{_beginning(root)}\n{''.join(kept)}")
    return len(kept), int(kept[-1].split()[0]) if kept else 0


def _parts(root: Path) -> Iterator[list[Member]]:
    """Yield everything in a source in an order that is the same each time, in pieces of about `PART` bytes.

    Of small files a piece has no more than `MEMBERS`, so that memory does not grow with the source.
    """
    part: list[Member] = []
    size = 0
    with tarfile.open(os.devnull, "w") as lister:
        for path in (path for path in _paths(root) if not path.is_socket()):
            lister.inodes = {}  # type: ignore[attr-defined] # a second link to a file is a file
            try:
                info = lister.gettarinfo(path, f"{root.name}/{path.relative_to(root)}" if path != root else root.name)
            except OSError as error:
                raise _unreadable(error) from error
            part.append((path, info))
            size += info.size + tarfile.BLOCKSIZE
            if size > PART or len(part) >= MEMBERS:
                yield part
                part, size = [], 0
    if part:
        yield part


def _paths(root: Path) -> Iterator[Path]:
    yield root
    for folder, folders, files in os.walk(root, onerror=_refuse):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(folders + files))


def _refuse(error: OSError) -> None:
    raise _unreadable(error) from error


def _unreadable(error: OSError) -> SourceError:
    return SourceError(
        f"{error.filename} cannot be archived ({error.strerror}): make it readable, stop what writes there, or leave "
        "the backup out with --no-backup"
    )


def _add(part: list[Member], file: BinaryIO) -> None:
    """Append a part, and have it on disk."""
    with gzip.GzipFile("", "wb", 1, file, 0) as packed:
        tar = tarfile.TarFile(fileobj=packed, mode="w")  # not closed: the archive's end comes after the last part
        for path, info in part:
            try:
                if info.isreg():
                    with path.open("rb") as content:
                        tar.addfile(info, content)
                else:
                    tar.addfile(info)
                tar.members.clear()  # type: ignore[attr-defined]  # else it keeps each until the end
            except OSError as error:
                raise SourceError(
                    f"{path} cannot be archived ({error}): is something writing there? Run again"
                ) from error
    file.flush()
    os.fsync(file.fileno())


def _line(info: tarfile.TarInfo) -> bytes:
    return f"{info.name}\0{info.size}\n".encode(errors="surrogateescape")


def _check(archive: Path, listed: str) -> None:
    """Read an archive back to its end: names, sizes, and gzip's checksums of the contents."""
    found = hashlib.sha256()
    with tarfile.open(archive, "r:gz") as tar:
        while member := tar.next():
            found.update(_line(member))
            tar.members.clear()  # type: ignore[attr-defined]
    if found.hexdigest() != listed:
        raise SourceError(f"{archive} does not hold what was put in: is the disk full? Run again")
