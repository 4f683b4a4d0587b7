"""Archives that somebody else may have written: plain files, folders only where they are unpacked as such."""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

# Python before 3.11.4 knows no filters; later ones warn without one. What they would refuse is refused here in both.
FILTER: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


def plain_files(file: BinaryIO) -> Iterator[tuple[str, int]]:
    """Yield name and size of each file in an uncompressed tar of files alone, while `file` is at its content.

    Raise `tarfile.TarError` for any other member, and for one that says it is larger than the rest of the archive.
    `TarFile` reads long names and sparse files at their own word, be it gigabytes, and follows sizes below zero.
    """
    end, at = file.seek(0, os.SEEK_END), 0
    while at < end:
        file.seek(at)
        header = file.read(tarfile.BLOCKSIZE)
        if not any(header):
            return
        member = tarfile.TarInfo.frombuf(header, tarfile.ENCODING, "surrogateescape")
        at += tarfile.BLOCKSIZE
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or not _is_bare(member.name):
            raise tarfile.TarError(f"it holds {member.name!r}, which is no plain file")
        if not 0 <= member.size <= end - at:
            raise tarfile.TarError(f"{member.name!r} is said to have {member.size} bytes where {end - at} are left")
        yield member.name, member.size
        at += -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _is_bare(name: str) -> bool:
    return PurePosixPath(name).name == name and name not in ("", "..")


def unpack_into(tar: tarfile.TarFile, folder: Path) -> None:
    """Write an archive below a folder; raise `tarfile.TarError`, before anything is written, for any other member."""
    members = tar.getmembers()
    for member in members:
        path = PurePosixPath(member.name)
        if not (member.isreg() or member.isdir()) or path.is_absolute() or ".." in path.parts:
            raise tarfile.TarError(f"it holds {member.name!r}, which is no plain file below its folder")
        member.mode = 0o755 if member.isdir() else 0o644  # whatever the archive says, its reader is to read it
    tar.extractall(folder, members, **FILTER)  # nosec B202 # noqa: S202 - its members were just looked at
