"""The predictor as a program: what it loads, what it is configured by, how it describes itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from services.predictor.app import create_app, create_broker
from services.predictor.settings import PredictorSettings
from shared.errors import SettingsError
from shared.events import ModelPromoted
from shared.service import asyncapi
from shared.settings import load
from tests import bundles

LOADED = """
import sys
from pathlib import Path
import services.predictor.app, services.predictor.__main__
from shared.verification import verify
verify(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""
HEAVY = {"mlflow", "psycopg2", "sklearn", "pandas", "scipy", "skops", "skl2onnx", "onnx", "matplotlib", "sqlalchemy"}


def test_a_compiled_model_needs_no_training_library(tmp_path: Path) -> None:
    archive, digest = bundles.classifier(tmp_path, 0.25)
    command = [sys.executable, "-c", LOADED, str(archive), str(tmp_path / "unpacked"), digest]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert "onnxruntime" in loaded
    assert not HEAVY & set(loaded)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_PREDICTOR_PORT", "8123")
    monkeypatch.setenv("PREDICTOR_WORKERS", "3")
    monkeypatch.setenv("BATON_CACHE_DIR", "/somewhere")
    monkeypatch.setenv("BATON_DEFAULT_MODEL", "heart")
    settings = load(PredictorSettings)
    assert (settings.predictor_port, settings.workers, settings.default_model) == (8123, 3, "heart")
    assert settings.cache_dir == Path("/somewhere")
    monkeypatch.setenv("PREDICTOR_WORKERS", "none")
    with pytest.raises(SettingsError, match="PREDICTOR_WORKERS"):
        load(PredictorSettings)


def test_making_the_app_touches_nothing(tmp_path: Path) -> None:
    create_app(PredictorSettings(cache_dir=tmp_path / "cache", nats_url="nats://127.0.0.1:1"))
    assert list(tmp_path.iterdir()) == []


def test_its_events_are_described() -> None:
    document = asyncapi(create_broker(), "Baton predictor", "").to_jsonable()
    text = json.dumps(document)
    for name in (
        "model.promoted",
        "model.withdrawn",
        "run.finished",
        "model.serving",
        "model.rejected",
        "predictor.alive",
    ):
        assert name in text
    assert set(ModelPromoted.model_fields) <= set(document["components"]["schemas"]["ModelPromoted"]["properties"])
