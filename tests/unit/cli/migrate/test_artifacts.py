"""Copying artifacts: every file that can be read, whole, and nothing outside of the target."""

import os
from pathlib import Path

import pytest

from cli.migrate import artifacts
from cli.migrate.artifacts import PARTIAL, ArtifactStore, Copied
from cli.migrate.findings import Findings
from cli.migrate.tree import SourceError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "mlruns" / "1" / "run" / "artifacts"
    (folder / "checkpoint-10").mkdir(parents=True)
    (folder / "checkpoint-10" / "model").write_text("x")
    return folder


def copy(source: Path, tmp_path: Path, tree: Path | None = None) -> tuple[Copied, set[str], list[str]]:
    """Copy a folder; return what was copied, the files that are there then, and why some are not."""
    store, findings = ArtifactStore(str(tmp_path / "new"), tmp_path / "new"), Findings()
    done = store.put(source, f"{tmp_path}/new/1", "1/run/artifacts", tree or tmp_path / "mlruns", findings)
    there = {
        path.relative_to(tmp_path / "new/1").as_posix() for path in (tmp_path / "new").rglob("*") if path.is_file()
    }
    return done, there, [finding.reason for finding in findings.items]


@pytest.mark.parametrize("link", ["latest", "a link that sorts first"])
def test_a_folder_and_a_link_to_it_are_both_copied(link: str, source: Path, tmp_path: Path) -> None:
    (source / link).symlink_to("checkpoint-10")
    done, there, reasons = copy(source, tmp_path)
    assert there == {"checkpoint-10/model", f"{link}/model"}
    assert (done.files, reasons) == (2, [])


@pytest.mark.parametrize("target", [".", "..", "../..", "checkpoint-10/.."])
def test_links_in_a_circle_end(target: str, source: Path, tmp_path: Path) -> None:
    (source / "circle").symlink_to(target)
    (source / "checkpoint-10" / "up").symlink_to("..")
    _, there, reasons = copy(source, tmp_path)
    assert (there, reasons) == ({"checkpoint-10/model"}, [])


def test_a_folder_elsewhere_may_have_links_within_itself(source: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    source.rename(disk)
    source.symlink_to(disk)  # artifacts -> /big/disk
    (disk / "latest").symlink_to("checkpoint-10")
    (disk / "out").symlink_to(tmp_path)
    _, there, reasons = copy(source, tmp_path)
    assert there == {"checkpoint-10/model", "latest/model"}
    assert reasons == ["a symbolic link that leads out of the source or nowhere"]


def test_a_name_as_long_as_a_file_system_takes_is_copied(source: Path, tmp_path: Path) -> None:
    name = "é" * 127  # 254 bytes
    (source / name).write_text("x")
    assert name in copy(source, tmp_path)[1]


def test_a_name_that_becomes_too_long_is_quarantined(source: Path, tmp_path: Path) -> None:
    (source / ("\udcff" * 100)).write_text("x")
    _, there, reasons = copy(source, tmp_path)
    assert there == {"checkpoint-10/model"}
    assert reasons == ["its name is too long once bad bytes are replaced"]


def test_a_file_that_breaks_off_is_quarantined(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source / "broken").write_text("x")
    real = artifacts.digest

    def digest(path: Path) -> str:
        if path.name == "broken":  # what a bad block does
            raise OSError(5, "Input/output error")
        return real(path)

    monkeypatch.setattr(artifacts, "digest", digest)
    done, there, reasons = copy(source, tmp_path)
    assert (done.files, there, reasons) == (1, {"checkpoint-10/model"}, ["cannot be read: Input/output error"])


def test_a_target_that_cannot_be_written_is_one_sentence(source: Path, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("a file where the folder should be")
    with pytest.raises(SourceError, match=r"cannot be copied to .*: Not a directory"):
        copy(source, tmp_path)


def test_a_file_is_on_disk_before_it_has_its_name(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(number: int) -> None:
        synced.append(Path(f"/proc/self/fd/{number}").readlink().name)
        real(number)

    monkeypatch.setattr(os, "fsync", fsync)
    copy(source, tmp_path)
    assert [name.endswith(PARTIAL) for name in synced] == [True]


@pytest.mark.parametrize("uri", ["models/../../evil", "..", "models/%2e%2e/%2e%2e/evil"])
def test_nothing_is_written_outside_of_the_target(uri: str, source: Path, tmp_path: Path) -> None:
    root = f"file://{tmp_path}/new"
    store = ArtifactStore(root, tmp_path / "new")
    with pytest.raises(SourceError, match="leads out of"):
        store.put(source, f"{root}/{uri}", "1", tmp_path / "mlruns", Findings())
