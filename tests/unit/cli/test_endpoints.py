"""Where the parts answer: environment, running stack, defaults, in this order."""

from pathlib import Path

import pytest

from cli import endpoints
from cli.migrate import destination
from cli.migrate.target import TargetError
from compose.local.datadir import DataDir
from compose.local.state import State, write_state


@pytest.fixture(autouse=True)
def no_addresses_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "BATON_NATS_URL", "BATON_PREDICTOR_URL", "BATON_PROMOTER_URL", "MLFLOW_TRACKING_URI", "BATON_DATABASE_URL",
        "BATON_TOKEN",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)


def test_defaults_without_a_stack(tmp_path: Path) -> None:
    assert endpoints.find(tmp_path).nats == "nats://127.0.0.1:4222"


def test_a_running_stack_says_where_it_answers(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    data.create()
    urls = {"nats": "nats://127.0.0.1:1", "predictor": "http://127.0.0.1:2"}
    write_state(data, State(pid=1, data_dir=str(tmp_path), ready_s=1.0, urls=urls, children={}, token="t"))
    found = endpoints.find(tmp_path)
    assert (found.nats, found.predictor) == (urls["nats"], urls["predictor"])
    assert (found.token, found.api_key) == ("t", "")
    assert found.mlflow == "http://127.0.0.1:5000"


def test_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_NATS_URL", "nats://elsewhere:4222")
    assert endpoints.find(tmp_path).nats == "nats://elsewhere:4222"


def stack(folder: Path) -> None:
    data = DataDir(folder)
    data.create()
    urls = {"postgres": "postgresql://127.0.0.1:1/own", "mlflow": "http://127.0.0.1:2"}
    write_state(data, State(pid=1, data_dir=str(folder), ready_s=1.0, urls=urls, children={}))


@pytest.mark.parametrize(
    ("named", "mlflow", "database"),
    [
        (None, "http://127.0.0.1:2", "postgresql://127.0.0.1:1/own"),
        ("http://localhost:2/", "http://localhost:2/", "postgresql://127.0.0.1:1/own"),
        ("postgresql://db/x", "http://127.0.0.1:2", "postgresql://db/x"),
        ("postgresql+psycopg2://db/x", "http://127.0.0.1:2", "postgresql+psycopg2://db/x"),
    ],
)
def test_a_tracking_uri_names_a_server_or_a_database(
    named: str | None, mlflow: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack(tmp_path)
    if named:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", named)
    assert (endpoints.find(tmp_path).mlflow, endpoints.find(tmp_path).database) == (mlflow, database)
    assert destination.database(None, tmp_path) == database
    assert destination.database("postgresql://chosen/x", tmp_path) == "postgresql://chosen/x"


@pytest.mark.parametrize("named", ["http://elsewhere:5000", "sqlite:///mlflow.db"])
def test_a_migration_goes_into_no_database_but_the_one_that_is_named(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", named)
    for has_stack in (False, True):
        if has_stack:
            stack(tmp_path)
        with pytest.raises(TargetError, match="name its database"):
            destination.database(None, tmp_path)
