"""Unpacking an archive that somebody else may have written: plain files and folders, inside one folder."""

import tarfile
from pathlib import Path, PurePosixPath
from typing import Any, Self

# Python before 3.11.4 knows no filters; later ones warn without one. What they would refuse is refused here in both.
FILTER: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


class PlainFile(tarfile.TarInfo):
    """What each member of an archive is, where there is nothing but files with short names: `tarinfo` of `TarFile`.

    Another type of member is refused at its header. A long name, for one, is read in one piece, however many gigabytes
    its header says that it has.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header; raise `tarfile.HeaderError` unless it is a file's."""
        member = super().frombuf(buf, encoding, errors)
        if not member.isreg():
            raise tarfile.HeaderError(f"it holds {member.name!r}, which is no plain file")
        return member


def unpack_into(tar: tarfile.TarFile, folder: Path) -> None:
    """Write an archive below a folder; raise `tarfile.TarError`, before anything is written, for any other member."""
    members = tar.getmembers()
    for member in members:
        path = PurePosixPath(member.name)
        if not (member.isreg() or member.isdir()) or path.is_absolute() or ".." in path.parts:
            raise tarfile.TarError(f"it holds {member.name!r}, which is no plain file below its folder")
        member.mode = 0o755 if member.isdir() else 0o644  # whatever the archive says, its reader is to read it
    tar.extractall(folder, members, **FILTER)  # nosec B202 # noqa: S202 - its members were just looked at
