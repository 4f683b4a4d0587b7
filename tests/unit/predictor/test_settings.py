"""The predictor's settings: which models it serves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.predictor.settings import PredictorSettings
from shared.errors import SettingsError
from shared.settings import load


@pytest.mark.parametrize(
    ("value", "models"),
    [("heart", {"heart"}), (" heart, churn,", {"heart", "churn"}), ('["a,b", "c"]', {"a,b", "c"})],
)
def test_models_are_a_list(monkeypatch: pytest.MonkeyPatch, value: str, models: set[str]) -> None:
    monkeypatch.setenv("BATON_MODELS", value)
    assert load(PredictorSettings).models == frozenset(models)


def test_predictors_of_one_host_have_names_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_PREDICTOR_PORT", "8001")
    first = load(PredictorSettings).instance
    monkeypatch.setenv("BATON_PREDICTOR_PORT", "8002")
    assert load(PredictorSettings).instance != first
    monkeypatch.setenv("BATON_PREDICTOR_NAME", "own")
    assert load(PredictorSettings).instance == "own"


@pytest.mark.parametrize("port", ["-1", "x"])
def test_a_wrong_port_is_said_to_be_wrong(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("BATON_PREDICTOR_PORT", port)
    with pytest.raises(SettingsError, match="predictor_port"):
        load(PredictorSettings)


@pytest.mark.parametrize("value", ["", " , ", "[1]", "[", "[]"])
def test_a_list_that_names_no_model_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("BATON_MODELS", value)
    with pytest.raises(SettingsError, match="models"):
        load(PredictorSettings)


def test_the_default_must_be_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_MODELS", "heart")
    monkeypatch.setenv("BATON_DEFAULT_MODEL", "churn")
    with pytest.raises(SettingsError, match="'churn' is not among models: heart"):
        load(PredictorSettings)


@pytest.mark.parametrize(
    ("more", "asks"),
    [
        ({}, False),
        ({"BATON_HOST": "localhost"}, False),
        ({"BATON_HOST": "::1"}, False),
        ({"BATON_API_KEYS_FILE": "/keys"}, True),
        ({"BATON_HOST": "0.0.0.0", "BATON_API_KEYS_FILE": "/keys"}, True),
        ({"BATON_HOST": "0.0.0.0", "BATON_API_KEYS": "off"}, False),
        ({"BATON_HOST": "0.0.0.0", "BATON_API_KEYS": "off", "BATON_API_KEYS_FILE": "/keys"}, False),
    ],
)
def test_who_is_asked_for_a_key(monkeypatch: pytest.MonkeyPatch, more: dict[str, str], asks: bool) -> None:
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    assert load(PredictorSettings).asks_for_keys is asks


@pytest.mark.parametrize(
    "more", [{"BATON_HOST": "0.0.0.0"}, {"BATON_HOST": "192.168.1.5"}, {"BATON_HOST": "::"}, {"BATON_API_KEYS": "on"}]
)
def test_strangers_are_not_let_in_by_oversight(monkeypatch: pytest.MonkeyPatch, more: dict[str, str]) -> None:
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=r"set BATON_API_KEYS_FILE to a file of keys .* or BATON_API_KEYS=off"):
        load(PredictorSettings)


@pytest.mark.parametrize("file", ["", "not a line"])
def test_a_predictor_without_usable_keys_does_not_start(tmp_path: Path, file: str) -> None:
    keys = tmp_path / "keys"
    environment = {"BATON_HOST": "0.0.0.0", "BATON_CACHE_DIR": str(tmp_path / "cache")}
    if file:
        keys.write_text(file)
        environment["BATON_API_KEYS_FILE"] = str(keys)
    command = [sys.executable, "-m", "services.predictor"]
    ended = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    (sentence,) = ended.stderr.splitlines()
    assert ("line 1 is not name:sha256" if file else "set BATON_API_KEYS_FILE") in sentence


def test_a_bound_on_loaded_models_is_for_lazy_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_LOADED_MODELS", "10")
    with pytest.raises(SettingsError, match="BATON_LOADING=lazy"):
        load(PredictorSettings)
    monkeypatch.setenv("BATON_LOADING", "lazy")
    assert load(PredictorSettings).loaded_models == 10
