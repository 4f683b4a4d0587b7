"""The backup: everything is in it, and an interrupted one goes on where it was."""

import os
import tarfile
from datetime import date
from pathlib import Path

import pytest

from cli.migrate import backup
from cli.migrate.backup import archive_path, make_backup
from cli.migrate.tree import SourceError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(backup, "PART", 1_500)  # two files
    folder = tmp_path / "mlruns"
    folder.mkdir()
    for number in range(9):
        (folder / f"{number}").write_text("x" * 500)
    (folder / "link").symlink_to("3")
    os.link(folder / "4", folder / "hard link")
    return folder


def contents(archive: Path) -> dict[str, str]:
    with tarfile.open(archive) as tar:
        files = {member.name: tar.extractfile(member) for member in tar if member.isreg()}
        return {name: file.read().decode() for name, file in files.items() if file is not None}


def interrupted(root: Path, archive: Path, files: int) -> None:
    told: list[int] = []

    def on_file(size: int) -> None:
        told.append(size)
        if len(told) > files:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_backup(root, archive, on_file)


def test_everything_is_in_it(root: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    make_backup(root, archive, lambda _: None)
    assert set(contents(archive)) == {f"mlruns/{name}" for name in [*map(str, range(9)), "hard link"]}
    assert {path.name for path in tmp_path.iterdir()} == {"mlruns", "a.tar.gz", "a.tar.gz.sha256"}


def test_an_interrupted_one_keeps_the_parts_that_it_has(root: Path, tmp_path: Path) -> None:
    archive = tmp_path / "mlruns-backup-20260101.tar.gz"
    interrupted(root, archive, 6)
    (root / "0").write_text("y" * 500)  # were it read again, it would be in the archive
    assert archive_path(tmp_path, root, date(2026, 1, 2)) == archive
    make_backup(root, archive, lambda _: None)
    found = contents(archive)
    assert len(found) == 10
    assert found["mlruns/0"] == "x" * 500


def test_an_interrupted_one_of_another_source_begins_again(root: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    interrupted(root, archive, 6)
    (root / "0").write_text("another length")
    make_backup(root, archive, lambda _: None)
    assert contents(archive)["mlruns/0"] == "another length"


def test_a_draft_that_is_torn_begins_again_where_it_is_whole(root: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    interrupted(root, archive, 9)
    draft = tmp_path / "a.tar.gz.partial"
    draft.write_bytes(draft.read_bytes()[:-30])
    with (tmp_path / "a.tar.gz.parts").open("a") as notes:
        notes.write("123")
    make_backup(root, archive, lambda _: None)
    assert len(contents(archive)) == 10


def test_a_damaged_one_is_not_taken_for_whole(root: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    made = make_backup(root, archive, lambda _: None)
    assert make_backup(root, archive, lambda _: None) == made
    archive.write_bytes(b"damaged")
    with pytest.raises(SourceError, match="is damaged"):
        make_backup(root, archive, lambda _: None)
