"""The verifier: compiled models are checked with low priority, all others as whoever started them."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from services.predictor.background import NICER, NICEST
from services.predictor.verifier import LARGE, Verifier
from shared.bundle import MODEL_FILES
from shared.verification import VerifiedModel, verify
from tests import bundles
from tests.unit.predictor.conftest import niceness, of_threads


@of_threads
@pytest.mark.parametrize(("runtime", "nicer"), [("onnx", NICER), ("sklearn", 0), ("pyfunc", 0), (None, 0)])
async def test_only_compiled_models_are_checked_with_low_priority(
    tmp_path: Path, runtime: str | None, nicer: int
) -> None:
    archive, found = tmp_path / "bundle.tar", []
    if runtime is None:
        archive.write_bytes(b"no archive")
    else:
        with tarfile.open(archive, "w") as tar:
            tar.addfile(tarfile.TarInfo(MODEL_FILES[runtime]), io.BytesIO())

    def verify(*_: object) -> VerifiedModel:
        found.append(niceness())
        raise LookupError

    with pytest.raises(LookupError):
        await Verifier(30, verify).verified(archive, tmp_path, "")
    assert found == [min(niceness() + nicer, NICEST)]


@of_threads
@pytest.mark.parametrize(("large", "times"), [(0, 1), (LARGE, 0)])
async def test_what_the_loading_of_a_large_model_leaves_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int, times: int
) -> None:
    done: list[int | str] = []

    def verified(*whole: Any) -> VerifiedModel:
        done.append("verified")
        return verify(*whole)

    monkeypatch.setattr("services.predictor.verifier.give_back", lambda: done.append(niceness()))
    monkeypatch.setattr("services.predictor.verifier.LARGE", large)
    archive, digest = bundles.regressor(tmp_path, 1.0)
    await Verifier(30, verified).verified(archive, tmp_path / "model", digest)
    assert done == ["verified", *[niceness()] * times]
