"""The bundle's archive: deterministic, and refused by name of the check when anything in it was changed."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.bundle import GOLDEN, MANIFEST, Column, Manifest, Output, file_digest, unpack, write
from shared.errors import BundleError
from tests.unit.shared.kit import packed

Contents = dict[str, bytes]


def read(archive: Path) -> Contents:
    with tarfile.open(archive) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def rewrite(archive: Path, contents: Contents) -> None:
    with tarfile.open(archive, "w") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def changed(name: str, change: Callable[[bytes], bytes]) -> Callable[[Contents], Contents]:
    return lambda contents: {**contents, name: change(contents[name])}


def test_it_comes_back_as_it_was_packed(tmp_path: Path) -> None:
    manifest = packed(tmp_path / "bundle.tar")
    assert unpack(tmp_path / "bundle.tar", tmp_path / "model", manifest.digest()) == manifest
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {MANIFEST, GOLDEN, "model.onnx"}


def test_the_archive_says_nothing_of_when_and_by_whom(tmp_path: Path) -> None:
    packed(tmp_path / "bundle.tar")
    with tarfile.open(tmp_path / "bundle.tar") as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == sorted(member.name for member in members)
    assert {(member.mtime, member.uid, member.gid, member.uname) for member in members} == {(0, 0, 0, "")}


@pytest.mark.parametrize(
    "damage",
    [
        changed("model.onnx", lambda content: content[:-1] + bytes([content[-1] ^ 1])),
        changed("model.onnx", lambda content: content[: len(content) // 2]),
        changed(GOLDEN, lambda content: content.replace(b"0.", b"1.", 1)),
        changed(MANIFEST, lambda content: content.replace(b"1e-05", b"1.0")),
        changed(MANIFEST, lambda content: content.replace(b'"format":1', b'"format":2')),
        changed(MANIFEST, lambda _: b"no json"),
        changed(MANIFEST, lambda content: json.dumps(json.loads(content) | {"more": 1}).encode()),
        lambda contents: {**contents, "more.txt": b"more"},
        lambda contents: {**contents, "../outside.txt": b"out"},
        lambda contents: {**contents, "/etc/outside.txt": b"out"},
        lambda contents: {name: content for name, content in contents.items() if name != GOLDEN},
        lambda contents: {name: content for name, content in contents.items() if name != MANIFEST},
        lambda _: {},
    ],
)
def test_what_was_changed_does_not_pass(tmp_path: Path, damage: Callable[[Contents], Contents]) -> None:
    archive = tmp_path / "bundle.tar"
    manifest = packed(archive)
    rewrite(archive, damage(read(archive)))
    with pytest.raises(BundleError) as raised:
        unpack(archive, tmp_path / "model", manifest.digest())
    assert raised.value.check == "digest"
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("cut", [0, 100, 700])
def test_an_archive_that_was_cut_short_does_not_pass(tmp_path: Path, cut: int) -> None:
    archive = tmp_path / "bundle.tar"
    manifest = packed(archive)
    archive.write_bytes(archive.read_bytes()[:cut])
    with pytest.raises(BundleError) as raised:
        unpack(archive, tmp_path / "model", manifest.digest())
    assert raised.value.check == "digest"


def test_another_bundle_than_the_one_asked_for_does_not_pass(tmp_path: Path) -> None:
    packed(tmp_path / "bundle.tar")
    with pytest.raises(BundleError, match="expected sha256:0") as raised:
        unpack(tmp_path / "bundle.tar", tmp_path / "model", "sha256:0")
    assert raised.value.check == "digest"


def test_what_a_newer_baton_says_of_a_whole_bundle_is_no_damage(tmp_path: Path) -> None:
    archive = tmp_path / "bundle.tar"
    packed(archive)
    newer = changed(MANIFEST, lambda content: json.dumps(json.loads(content) | {"more": 1}).encode())(read(archive))
    rewrite(archive, newer)
    with pytest.raises(BundleError, match=r"cannot be read here: .*\nmore") as raised:
        unpack(archive, tmp_path / "model", f"sha256:{file_digest(newer[MANIFEST])}")
    assert raised.value.check == "schema"


def test_a_link_in_the_archive_is_not_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bundle.tar", "w") as tar:
        link = tarfile.TarInfo("model.onnx")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(BundleError) as raised:
        unpack(tmp_path / "bundle.tar", tmp_path / "model", "sha256:0")
    assert raised.value.check == "digest"


def test_the_digest_is_of_the_canonical_manifest_and_no_accident_of_its_order(tmp_path: Path) -> None:
    content = b"model"
    facts: dict[str, Any] = {
        "inputs": [Column(name="größe", type="double")],
        "output": Output(kind="regression"),
        "runtime": "onnx",
        "runtime_reason": "test",
        "tolerance": 1e-5,
        "libraries": {"b": "2", "a": "1"},
        "files": {"model.onnx": file_digest(content)},
    }
    manifest = Manifest(**facts)
    shuffled = Manifest(**dict(reversed(facts.items())) | {"libraries": {"a": "1", "b": "2"}})
    assert manifest.digest() == shuffled.digest()
    assert "größe".encode() in manifest.canonical()
    assert b" " not in manifest.canonical()
    assert write(tmp_path / "bundle.tar", manifest, {"model.onnx": content}) == manifest.digest()


def test_what_is_not_known_of_a_column_leaves_the_digest_as_it_was_before_there_was_such_a_field() -> None:
    column = {"name": "x", "required": True, "type": "double"}
    older = {"files": {}, "format": 1, "inputs": [column], "libraries": {}, "runtime": "onnx", "runtime_reason": "",
             "output": {"classes": [], "kind": "regression", "probabilities": False}, "tolerance": 1e-5}  # fmt: skip
    manifest = Manifest.model_validate(older)
    assert json.loads(manifest.canonical()) == older
    wider = manifest.model_copy(update={"inputs": [manifest.inputs[0].model_copy(update={"minimum": 0.0})]})
    assert wider.digest() != manifest.digest()


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("double", [1, None, 2.5], [1.0, np.nan, 2.5]),
        ("long", [1, 2], [1, 2]),
        ("boolean", [True, False], [True, False]),
        ("string", ["a", None], ["a", None]),
    ],
)
def test_a_column_becomes_an_array_of_its_type(kind: Any, values: list[Any], expected: list[Any]) -> None:
    array = Column(name="x", type=kind).array(values)
    assert array.shape == (len(values),)
    np.testing.assert_array_equal(array, expected)


def test_an_archive_that_is_gone_is_no_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        unpack(tmp_path / "gone.tar", tmp_path / "model", "sha256:0")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.DIRTYPE])
def test_a_member_that_is_no_file_is_refused_by_its_header(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo(MANIFEST)
    member.type, member.size = kind, 2**33
    (tmp_path / "bundle.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    with pytest.raises(BundleError, match="which is no plain file") as failed:
        unpack(tmp_path / "bundle.tar", tmp_path / "model", "sha256:0")
    assert failed.value.check == "digest"


@pytest.mark.parametrize("size", [-1_000_000, 2**40, 2**70])
def test_an_archive_whose_sizes_lead_nowhere_is_damaged(tmp_path: Path, size: int) -> None:
    member = tarfile.TarInfo(MANIFEST)
    member.size = size
    (tmp_path / "bundle.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    with pytest.raises(BundleError) as failed:
        unpack(tmp_path / "bundle.tar", tmp_path / "model", "sha256:0")
    assert failed.value.check == "digest"
