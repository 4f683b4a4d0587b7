"""Where the parts answer: environment, running stack, defaults, in this order."""

from pathlib import Path

import pytest

from cli import endpoints
from compose.local.datadir import DataDir
from compose.local.state import State, write_state


@pytest.fixture(autouse=True)
def no_addresses_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BATON_NATS_URL", "BATON_PREDICTOR_URL", "BATON_PROMOTER_URL", "MLFLOW_TRACKING_URI", "BATON_TOKEN"):
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
