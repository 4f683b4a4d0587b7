"""Runtimes: both give one answer for the same rows, and say what they cannot load."""

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from shared.bundle import MODEL_FILES, Manifest, Output, unpack
from shared.errors import BundleError
from shared.packing import inputs_of, output_of
from shared.packing.conversion import convert
from shared.runtime import NO_PYFUNC, from_probabilities, load
from shared.runtime.onnx import OnnxRuntime
from shared.runtime.pyfunc import packed_folder
from shared.runtime.sklearn import SklearnRuntime
from tests.unit.shared.kit import classes, fitted, packed, table


def test_both_runtimes_give_the_same_answers(tmp_path: Path) -> None:
    frame = table()
    model = fitted(frame, LogisticRegression(), classes(frame))
    inputs, output = inputs_of(model), output_of(model.estimator)
    skops.io.dump(model.estimator, tmp_path / "model.skops")
    columns = {column.name: column.array(frame[column.name].tolist()) for column in inputs}
    compiled = OnnxRuntime(convert(model.estimator, inputs, output), output).predict(columns)
    interpreted = SklearnRuntime(tmp_path / "model.skops", output).predict(columns)
    assert compiled.values == interpreted.values
    assert compiled.probabilities is not None
    assert interpreted.probabilities is not None
    np.testing.assert_allclose(compiled.probabilities, interpreted.probabilities, atol=1e-5)


def test_of_equally_probable_classes_the_first_is_the_answer() -> None:
    output = Output(kind="classification", classes=["a", "b"], probabilities=True)
    assert from_probabilities(np.array([[0.5, 0.5], [0.1, 0.9]]), output).values == ["a", "b"]


def test_types_that_baton_does_not_allow_are_not_loaded(tmp_path: Path) -> None:
    evil = Pipeline([("run", FunctionTransformer(func=subprocess.check_output)), ("model", LogisticRegression())])
    skops.io.dump(evil, tmp_path / "model.skops")
    with pytest.raises(BundleError, match=r"not allowed: subprocess\.check_output") as raised:
        SklearnRuntime(tmp_path / "model.skops", Output(kind="regression"))
    assert raised.value.check == "load"


@pytest.mark.parametrize("kind", ["onnx", "sklearn"])
def test_a_file_that_is_no_model_is_not_loaded(tmp_path: Path, kind: str) -> None:
    (tmp_path / MODEL_FILES[kind]).write_bytes(b"no model")
    manifest = packed(tmp_path / "bundle.tar").model_copy(update={"runtime": kind})
    with pytest.raises(BundleError, match="cannot be loaded") as raised:
        load(tmp_path, manifest)
    assert raised.value.check == "load"
    assert str(tmp_path) not in str(raised.value), "others have other folders"


def test_what_the_host_is_short_of_speaks_against_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = packed(tmp_path / "bundle.tar")
    assert manifest.runtime == "onnx"
    unpack(tmp_path / "bundle.tar", tmp_path, manifest.digest())

    def too_many(*_: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(Path, "open", too_many)
    with pytest.raises(OSError, match="too many open files"):
        load(tmp_path, manifest)


def test_a_model_that_is_code_is_not_opened_unless_allowed(tmp_path: Path) -> None:
    manifest = packed(tmp_path / "bundle.tar").model_copy(update={"runtime": "pyfunc"})
    with pytest.raises(BundleError) as raised:
        load(tmp_path, manifest)
    assert (raised.value.check, str(raised.value)) == ("load", NO_PYFUNC)
    (tmp_path / MODEL_FILES["pyfunc"]).write_bytes(b"no model")
    with pytest.raises(BundleError, match="cannot be loaded"):
        load(tmp_path, manifest, allow_pyfunc=True)


def test_the_same_folder_is_packed_into_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "code").mkdir(parents=True)
        (tmp_path / name / "MLmodel").write_text("flavors: {}")
        (tmp_path / name / "code" / "own.py").write_text("x = 1")
        (tmp_path / name / "registered_model_meta").write_text(name)
    assert packed_folder(tmp_path / "one") == packed_folder(tmp_path / "two")


def test_the_predictor_knows_nothing_of_mlflow() -> None:
    program = "import sys, services.predictor.app, shared.runtime.sklearn; print('mlflow' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "False"


def test_a_compiled_model_needs_no_scikit_learn(tmp_path: Path) -> None:
    manifest: Manifest = packed(tmp_path / "bundle.tar")
    program = f"""
import sys
from pathlib import Path
from shared.verification import verify
verify(Path({str(tmp_path / "bundle.tar")!r}), Path({str(tmp_path / "model")!r}), {manifest.digest()!r})
heavy = sorted({{"sklearn", "pandas", "skops", "mlflow", "skl2onnx", "scipy"}} & sys.modules.keys())
print(heavy)
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "[]"
