"""The bundle's archive: deterministic, and refused by name of the check when anything in it was changed."""

import io
import json
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.archives import plain_files
from shared.bundle import (
    GOLDEN,
    MANIFEST,
    MODEL_FILES,
    Column,
    Manifest,
    Output,
    file_digest,
    is_compiled,
    unpack,
    write,
)
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


def header(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


KINDS = [
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_SPARSE, tarfile.XHDTYPE, tarfile.XGLTYPE,
    tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, b"?",
]  # fmt: skip
SIZES = [-1_000_000, -1024, -512, -1, 2049, 2**40, 2**70]


@pytest.mark.parametrize(
    "damaged",
    [
        *(header("more", kind) for kind in KINDS),
        *(header("more", size=size) for size in SIZES),
        *(header(name) for name in ("../more", "/more", "folder/more", "..", "")),
        header("more")[:-1],
        header("more").replace(b"more", b"less"),
    ],
)
@pytest.mark.parametrize("before", [b"", header(MANIFEST)], ids=["first", "second"])
def test_an_archive_that_holds_anything_but_files_of_their_size_is_damaged(
    tmp_path: Path, damaged: bytes, before: bytes
) -> None:
    archive = tmp_path / "bundle.tar"
    archive.write_bytes(before + damaged + bytes(2048) * (len(damaged) == tarfile.BLOCKSIZE))
    assert not is_compiled(archive)
    with pytest.raises(BundleError, match="archive cannot be read") as failed:
        unpack(archive, tmp_path / "model", "sha256:0")
    assert failed.value.check == "digest"


@given(st.binary(max_size=4096))
@settings(deadline=None)  # it writes files
def test_bytes_that_are_no_archive_are_a_damaged_bundle(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        archive = Path(name) / "bundle.tar"
        archive.write_bytes(content)
        assert not is_compiled(archive)
        with pytest.raises(BundleError) as failed:
            unpack(archive, Path(name) / "model", "sha256:0")
    assert failed.value.check == "digest"


@given(st.integers(0, tarfile.BLOCKSIZE - 12), st.binary(min_size=1, max_size=12))
def test_whatever_a_header_says_is_a_file_or_damage(at: int, content: bytes) -> None:
    said = header("more", size=3)
    said = said[:at] + content + said[at + len(content) :]
    summed = b"%06o\0 " % sum(said[:148] + b" " * 8 + said[156:])
    file = io.BytesIO(said[:148] + summed + said[156:] + b"abc" + bytes(509))
    with suppress(tarfile.TarError):
        assert all(0 <= size <= tarfile.BLOCKSIZE for _, size in plain_files(file))


def test_an_archive_of_files_ends_at_an_empty_block_or_with_its_last_byte() -> None:
    whole = header("a", size=512) + bytes(512) + header("b", size=1) + b"b" + bytes(511)
    for ended in (whole, whole + bytes(1024), whole + bytes(512) + header("c")):
        assert list(plain_files(io.BytesIO(ended))) == [("a", 512), ("b", 1)]


def test_whether_a_bundle_is_compiled_is_told_by_its_files(tmp_path: Path) -> None:
    packed(tmp_path / "bundle.tar")
    assert is_compiled(tmp_path / "bundle.tar")
    rewrite(tmp_path / "bundle.tar", {MANIFEST: b"", MODEL_FILES["sklearn"]: b""})
    assert not is_compiled(tmp_path / "bundle.tar")
