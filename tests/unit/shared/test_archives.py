"""Unpacking: plain files and folders, and nothing beside them."""

import io
import tarfile
from pathlib import Path

import pytest

from shared.archives import unpack_into


def archive(*members: tarfile.TarInfo) -> tarfile.TarFile:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    content.seek(0)
    return tarfile.open(fileobj=content)


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, 3 if kind == tarfile.REGTYPE else 0
    return info


def test_files_and_folders_are_unpacked(tmp_path: Path) -> None:
    unpack_into(archive(member("folder", tarfile.DIRTYPE), member("folder/file")), tmp_path)
    assert (tmp_path / "folder" / "file").read_bytes() == b"xxx"


@pytest.mark.parametrize(
    "bad",
    [
        member("../outside"),
        member("folder/../../outside"),
        member("/etc/outside"),
        member("link", tarfile.SYMTYPE, "/etc/passwd"),
        member("link", tarfile.LNKTYPE, "../outside"),
        member("device", tarfile.CHRTYPE),
    ],
)
def test_anything_else_is_refused_before_a_file_is_written(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    with pytest.raises(tarfile.TarError, match="no plain file below its folder"):
        unpack_into(archive(member("good"), bad), tmp_path)
    assert list(tmp_path.iterdir()) == []
