"""The backup of a FileStore before anything else: one archive, its digest beside it, both checked.

It is written in parts, each a gzip member of its own (together they are one `.tar.gz`), and each is noted when it is on
disk: an interrupted backup goes on with the part that it was at.
"""

import gzip
import hashlib
import os
import tarfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import BinaryIO

from cli.migrate.artifacts import digest
from cli.migrate.tree import SourceError

PART = 64_000_000  # bytes of files
END = b"\0" * 2 * tarfile.BLOCKSIZE
Member = tuple[Path, tarfile.TarInfo]


def archive_path(folder: Path, root: Path, today: date) -> Path:
    """Return the archive of a source: one that an earlier attempt finished or began, else one of today."""
    found = sorted(folder.glob(f"{root.name}-backup-[0-9]*.tar.gz.sha256"))
    begun = sorted(folder.glob(f"{root.name}-backup-[0-9]*.tar.gz.parts"))
    return (
        (found or begun)[-1].with_suffix("") if found or begun else folder / f"{root.name}-backup-{today:%Y%m%d}.tar.gz"
    )


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
    _check(draft, _write(root, draft, parts, on_file))
    written = digest(draft)
    draft.replace(archive)
    noted.write_text(f"{written}  {archive.name}\n")
    parts.unlink()
    return written


def _write(root: Path, draft: Path, parts: Path, on_file: Callable[[int], None]) -> str:
    """Write what of the draft is lacking; return a digest over all names and sizes."""
    count, offset = _standing(root, draft, parts)
    listed = hashlib.sha256()
    draft.touch()
    with draft.open("r+b") as file, parts.open("a") as notes:
        file.truncate(offset)
        file.seek(offset)
        for number, part in enumerate(_parts(root)):
            for _, info in part:
                listed.update(_line(info))
                on_file(info.size)
            if number >= count:
                _add(part, file)
                notes.write(f"{file.tell()} {listed.hexdigest()}\n")
                notes.flush()
        file.write(gzip.compress(END, mtime=0))
    return listed.hexdigest()


def _standing(root: Path, draft: Path, parts: Path) -> tuple[int, int]:
    """Return how many parts of an earlier attempt stand, and where they end; what follows is forgotten."""
    if not parts.exists() or not draft.exists():
        parts.write_text("")
        return 0, 0
    listed, kept, size = hashlib.sha256(), [], draft.stat().st_size
    for part, line in zip(_parts(root), parts.read_text().splitlines(keepends=True), strict=False):
        for _, info in part:
            listed.update(_line(info))
        end, said = line.split() if line.endswith("\n") else ("0", "")
        if said != listed.hexdigest() or int(end) > size:  # the source is not what it was
            break
        kept.append(line)
    parts.write_text("".join(kept))
    return len(kept), int(kept[-1].split()[0]) if kept else 0


def _parts(root: Path) -> Iterator[list[Member]]:
    """Yield everything in a source in an order that is the same each time, in pieces of about `PART` bytes."""
    part: list[Member] = []
    size = 0
    with tarfile.open(os.devnull, "w") as lister:
        for path in (path for path in _paths(root) if not path.is_socket()):
            lister.inodes = {}  # type: ignore[attr-defined] # a second link to a file is a file
            info = lister.gettarinfo(path, f"{root.name}/{path.relative_to(root)}" if path != root else root.name)
            part.append((path, info))
            size += info.size + tarfile.BLOCKSIZE
            if size > PART:
                yield part
                part, size = [], 0
    if part:
        yield part


def _paths(root: Path) -> Iterator[Path]:
    yield root
    for folder, folders, files in os.walk(root):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(folders + files))


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
        for member in tar:
            found.update(_line(member))
    if found.hexdigest() != listed:
        raise SourceError(f"{archive} does not hold what was put in: is the disk full? Run again")
