"""Verification: each kind of damage is found by the check that is named for it."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from time import thread_time
from typing import Any

import numpy as np
import pytest

from shared.bundle import GOLDEN, Columns, Golden, Manifest, file_digest, unpack, write
from shared.errors import BundleError
from shared.runtime import Prediction
from shared.runtime.onnx import OnnxRuntime
from shared.verification import disagreement, verify
from tests.unit.shared.kit import packed

Change = Callable[[dict[str, Any], dict[str, Any]], None]


def repacked(archive: Path, change: Change) -> Manifest:
    """Change manifest and golden rows of a bundle, and put the right digests on what comes of it."""
    folder = archive.parent / "original"
    original = unpack(archive, folder, packed(archive).digest())
    manifest, golden = original.model_dump(), json.loads((folder / GOLDEN).read_bytes())
    change(manifest, golden)
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name in original.files}
    files[GOLDEN] = Golden.model_validate(golden).model_dump_json().encode()
    made = Manifest.model_validate(manifest | {"files": {name: file_digest(data) for name, data in files.items()}})
    write(archive, made, files)
    return made


def lose_a_column(_: dict[str, Any], golden: dict[str, Any]) -> None:
    del golden["columns"]["x"]


def put_text_among_numbers(_: dict[str, Any], golden: dict[str, Any]) -> None:
    golden["columns"]["x"][0] = "many"


def shift_a_probability(_: dict[str, Any], golden: dict[str, Any]) -> None:
    golden["probabilities"][3][0] += 1e-3


def add_an_input(manifest: dict[str, Any], golden: dict[str, Any]) -> None:
    manifest["inputs"].append(manifest["inputs"][0] | {"name": "more"})
    golden["columns"]["more"] = golden["columns"]["x"]


def swap_two_inputs(manifest: dict[str, Any], _: dict[str, Any]) -> None:
    manifest["inputs"][:2] = reversed(manifest["inputs"][:2])


def test_what_was_packed_passes(tmp_path: Path) -> None:
    manifest = packed(tmp_path / "bundle.tar")
    verified = verify(tmp_path / "bundle.tar", tmp_path / "model", manifest.digest())
    assert verified.manifest == manifest
    assert verified.load_ms > 0
    assert verified.verify_ms > 0


def test_a_row_is_timed_alone_for_among_others_it_may_take_much_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = OnnxRuntime.predict

    def slow_to_begin(self: OnnxRuntime, columns: Columns) -> Prediction:
        ends = thread_time() + 0.002
        while thread_time() < ends:
            pass
        return predict(self, columns)

    monkeypatch.setattr(OnnxRuntime, "predict", slow_to_begin)
    manifest = packed(tmp_path / "bundle.tar")
    assert verify(tmp_path / "bundle.tar", tmp_path / "model", manifest.digest()).row_s >= 0.002


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lose_a_column, "schema"),
        (put_text_among_numbers, "schema"),
        (add_an_input, "warm_up"),
        (swap_two_inputs, "golden"),
        (shift_a_probability, "golden"),
    ],
)
def test_damage_is_found_by_its_check(tmp_path: Path, change: Change, check: str) -> None:
    manifest = repacked(tmp_path / "bundle.tar", change)
    with pytest.raises(BundleError) as raised:
        verify(tmp_path / "bundle.tar", tmp_path / "model", manifest.digest())
    assert raised.value.check == check


@pytest.mark.parametrize("short", [MemoryError(), OSError(errno.ENOSPC, "No space left on device")])
@pytest.mark.parametrize("step", ["__init__", "predict"])
def test_what_the_host_is_short_of_speaks_against_no_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, short: Exception
) -> None:
    def fail(*_: object) -> None:
        raise short

    manifest = packed(tmp_path / "bundle.tar")
    monkeypatch.setattr(OnnxRuntime, step, fail)
    with pytest.raises(type(short)):
        verify(tmp_path / "bundle.tar", tmp_path / "model", manifest.digest())


def probabilities(*rows: list[float]) -> Prediction:
    return Prediction([0] * len(rows), np.array(rows))


@pytest.mark.parametrize(
    ("got", "expected", "words"),
    [
        (Prediction(["a", "b"]), Prediction(["a", "b"]), None),
        (Prediction(["a", "c"]), Prediction(["a", "b"]), "1 of 2 rows have another class"),
        (Prediction([1e5 + 0.5]), Prediction([1e5]), None),  # float32 is not better than that
        (Prediction([1e5 + 5.0]), Prediction([1e5]), "1 of 1 rows are off, by up to 5"),
        (Prediction([0.0]), Prediction([0.0]), None),
        (Prediction([float("nan")]), Prediction([0.0]), "1 of 1 rows are off"),
        (probabilities([0.5, 0.5]), probabilities([0.5, 0.5]), None),
        (probabilities([0.5, 0.5]), probabilities([0.500001, 0.499999]), None),
        (probabilities([0.5, 0.5]), probabilities([0.5, 0.5], [0.4, 0.6]), "shape"),
        (probabilities([0.51, 0.49], [0.4, 0.6]), probabilities([0.5, 0.5], [0.4, 0.6]), "1 of 2 rows are off"),
        (Prediction([0]), probabilities([0.5, 0.5]), "there are no probabilities"),
    ],
)
def test_answers_differ_by_more_than_the_tolerance_or_not(
    got: Prediction, expected: Prediction, words: str | None
) -> None:
    difference = disagreement(got, expected, 1e-5)
    if words is None:
        assert difference is None
    else:
        assert difference is not None
        assert words in difference
