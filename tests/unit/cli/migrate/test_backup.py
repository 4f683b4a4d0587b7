"""The backup: everything is in it, and an interrupted one goes on where it was."""

import os
import subprocess
import tarfile
from datetime import date
from pathlib import Path
from typing import Any

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


def test_one_of_another_project_in_the_same_folder_is_not_taken_for_this_one_s(root: Path, tmp_path: Path) -> None:
    today, other = date(2026, 1, 2), tmp_path / "other" / "mlruns"
    other.mkdir(parents=True)
    (other / "only here").write_text("y" * 500)
    first = archive_path(tmp_path, root, today)
    make_backup(root, first, lambda _: None)
    second = archive_path(tmp_path, other, today)
    assert (first.name, second.name) == ("mlruns-backup-20260102.tar.gz", "mlruns-backup-20260102-2.tar.gz")
    make_backup(other, second, lambda _: None)
    assert contents(second) == {"mlruns/only here": "y" * 500}
    later = date(2026, 1, 3)
    assert (archive_path(tmp_path, root, later), archive_path(tmp_path, other, later)) == (first, second)
    (root / "new").write_text("a run that was added since")
    assert archive_path(tmp_path, root, later).name == "mlruns-backup-20260103.tar.gz"


def test_a_draft_of_another_project_is_left_alone(root: Path, tmp_path: Path) -> None:
    today, other = date(2026, 1, 2), tmp_path / "other" / "mlruns"
    other.mkdir(parents=True)
    (other / "only here").write_text("y" * 500)
    begun = archive_path(tmp_path, root, today)
    for files in (0, 6):  # before the first part stood, and after
        interrupted(root, begun, files)
        assert archive_path(tmp_path, other, today).name == "mlruns-backup-20260102-2.tar.gz"
        assert archive_path(tmp_path, root, date(2026, 1, 3)) == begun


def test_its_digest_file_is_one_that_sha256sum_checks(root: Path, tmp_path: Path) -> None:
    make_backup(root, tmp_path / "a.tar.gz", lambda _: None)
    subprocess.run(["sha256sum", "--strict", "-c", "a.tar.gz.sha256"], cwd=tmp_path, check=True, capture_output=True)


def test_what_cannot_be_read_is_not_left_out(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = root / "closed"
    closed.mkdir()
    (closed / "lost").write_text("x")
    real = os.scandir

    def scandir(path: str | Path) -> Any:  # permissions do not hold off root, who may run the tests
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(closed))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(SourceError, match=r"closed cannot be archived \(Permission denied\)"):
        make_backup(root, tmp_path / "a.tar.gz", lambda _: None)


def test_parts_are_bounded_by_the_number_of_files_too(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "PART", 10**9)
    monkeypatch.setattr(backup, "MEMBERS", 4)
    assert [len(part) for part in backup._parts(root)] == [4, 4, 4]
    make_backup(root, tmp_path / "a.tar.gz", lambda _: None)
    assert len(contents(tmp_path / "a.tar.gz")) == 10


def test_members_do_not_pile_up_in_memory(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most: list[int] = []

    class Members(list[tarfile.TarInfo]):
        def append(self, member: tarfile.TarInfo) -> None:
            super().append(member)
            most.append(len(self))

    real = tarfile.TarFile.__init__

    def init(self: tarfile.TarFile, *words: Any, **more: Any) -> None:
        real(self, *words, **more)
        self.members = Members(self.members)  # type: ignore[attr-defined]

    monkeypatch.setattr(tarfile.TarFile, "__init__", init)
    make_backup(root, tmp_path / "a.tar.gz", lambda _: None)
    assert max(most) <= 2
