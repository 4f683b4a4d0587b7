"""The backup of a FileStore before anything else: one archive, its digest beside it, both checked."""

import hashlib
import tarfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

from cli.migrate.artifacts import digest
from cli.migrate.tree import SourceError


def archive_path(folder: Path, root: Path, today: date) -> Path:
    """Return the archive that holds a source, of today or of an earlier attempt that was finished."""
    found = sorted(folder.glob(f"{root.name}-backup-[0-9]*.tar.gz.sha256"))
    return found[-1].with_suffix("") if found else folder / f"{root.name}-backup-{today:%Y%m%d}.tar.gz"


def make_backup(root: Path, archive: Path, on_file: Callable[[int], None]) -> str:
    """Archive a source and return the archive's SHA-256; an archive that is there and whole is kept.

    `on_file` is told the bytes of each file. The archive appears under its name only when it is complete, and it is
    read back before it counts.
    """
    noted = archive.with_name(archive.name + ".sha256")
    if noted.exists() and archive.exists():
        wanted = noted.read_text().split()[0]
        if digest(archive) != wanted:
            raise SourceError(f"{archive} is damaged: its digest is not the one in {noted.name}; move it away")
        return wanted
    draft = archive.with_name(archive.name + ".partial")
    listed = hashlib.sha256()

    def counted(member: tarfile.TarInfo) -> tarfile.TarInfo:
        on_file(member.size)
        listed.update(f"{member.name}\0{member.size}\n".encode(errors="surrogateescape"))
        return member

    with tarfile.open(draft, "w:gz", compresslevel=1, errorlevel=1) as tar:
        tar.add(root, arcname=root.name, filter=counted)
    _check(draft, listed.hexdigest())
    written = digest(draft)
    draft.replace(archive)
    noted.write_text(f"{written}  {archive.name}\n")
    return written


def _check(archive: Path, listed: str) -> None:
    """Read an archive back to its end: names, sizes, and gzip's checksums of the contents."""
    found = hashlib.sha256()
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            found.update(f"{member.name}\0{member.size}\n".encode(errors="surrogateescape"))
    if found.hexdigest() != listed:
        raise SourceError(f"{archive} does not hold what was put in: is the disk full? Run again")
