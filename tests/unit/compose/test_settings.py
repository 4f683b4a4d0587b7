"""Settings of the stack, and which parts are attached."""

from pathlib import Path

import pytest

from compose.local.attached import attached_urls
from compose.local.settings import PORT_FIELDS, StackSettings
from shared.errors import SettingsError
from shared.settings import RegistrySettings, load

OWN_NAMES = (
    "MLFLOW_TRACKING_URI",
    "PREDICTOR_WORKERS",
    "BATON_DATABASE_URL",
    "BATON_NATS_URL",
    "BATON_DATA_DIR",
    "BATON_CAPTURE",
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*OWN_NAMES, *(f"BATON_{field.upper()}" for field in PORT_FIELDS.values())):
        monkeypatch.delenv(name, raising=False)


def test_defaults_are_those_of_the_design(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(StackSettings)
    assert settings.data_dir == tmp_path / ".baton"
    assert settings.ports == {
        "predictor": 8000, "promoter": 8001, "trainer": 8002, "mlflow": 5000,
        "nats": 4222, "nats_monitor": 8222, "postgres": 5432,
    }  # fmt: skip
    assert settings.predictor_workers == 2
    assert attached_urls(settings) == {}


def test_the_environment_is_read_under_its_documented_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_NATS_MONITOR_PORT", "0")
    monkeypatch.setenv("PREDICTOR_WORKERS", "3")
    monkeypatch.setenv("BATON_NATS_URL", "nats://elsewhere:4222")
    monkeypatch.setenv("BATON_DATABASE_URL", "")  # as in a shell that unset it half-heartedly
    settings = load(StackSettings)
    assert settings.ports["nats_monitor"] == 0
    assert settings.predictor_workers == 3
    assert attached_urls(settings) == {"nats": "nats://elsewhere:4222"}


@pytest.mark.parametrize("bad", [{"nats_port": -1}, {"nats_port": 65536}, {"predictor_workers": 0}])
def test_impossible_numbers_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(SettingsError, match="not usable"):
        load(StackSettings, **bad)


def test_an_attached_mlflow_needs_its_database() -> None:
    with pytest.raises(SettingsError, match="BATON_DATABASE_URL is not"):
        attached_urls(load(StackSettings, tracking_uri="http://mlflow:5000"))


def test_an_attached_database_gets_an_mlflow_of_ours() -> None:
    assert attached_urls(load(StackSettings, database_url="postgresql://db/mlflow")) == {
        "postgres": "postgresql://db/mlflow"
    }


def test_a_tracking_uri_may_be_the_database_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg2://db/mlflow")
    assert attached_urls(load(StackSettings)) == {"postgres": "postgresql+psycopg2://db/mlflow"}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://db/mlflow")
    assert load(RegistrySettings).tracking_uri == "postgresql+psycopg2://db/mlflow"


def test_only_a_port_that_nobody_chose_may_be_replaced_and_only_if_asked() -> None:
    assert load(StackSettings).replaceable_ports == set()
    assert load(StackSettings, port_fallback=True, nats_port=4333).replaceable_ports == set(PORT_FIELDS) - {"nats"}


def test_an_mlflow_that_is_polled_needs_no_database_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example")
    with pytest.raises(SettingsError, match="BATON_CAPTURE=poll"):
        attached_urls(load(StackSettings))
    monkeypatch.setenv("BATON_CAPTURE", "poll")
    assert attached_urls(load(StackSettings)) == {"mlflow": "https://mlflow.example"}


@pytest.mark.parametrize("sync", ["2", "often", "always\n", "-1s"])
def test_nonsense_about_syncing_is_refused(sync: str) -> None:
    with pytest.raises(SettingsError, match="nats_sync"):
        load(StackSettings, nats_sync=sync)
