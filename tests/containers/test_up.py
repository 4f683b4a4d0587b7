"""One command on a fresh clone, a champion trained, the request answered; what was there survives `down`."""

from typing import Any

import pytest

from tests.containers.conftest import Brought
from tests.containers.stack import Stack

pytestmark = pytest.mark.timeout(3600)
AFTER = {
    "postgres": {"secrets"},
    "nats": {"secrets"},
    "mlflow": {"postgres"},
    "promoter": {"nats", "mlflow"},
    "trainer": {"promoter"},
    "predictor": {"promoter"},
    "proxy": {"predictor"},
}


def test_each_part_starts_when_those_that_it_needs_are_ready(brought: Brought) -> None:
    starts = {start.service: start for start in brought.starts.values()}
    assert starts.keys() == {"secrets", *AFTER}
    for service, needed in AFTER.items():
        for name in needed:
            ready = starts[name].ready
            assert ready is not None, name
            assert ready < starts[service].started, f"{service} did not wait for {name}"


def test_the_request_is_answered_from_outside(stack: Stack, version: str) -> None:
    answer = stack.predict()
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    assert (said["model"], said["version"]) == ("heart-disease", version)
    assert said["prediction"] in {0, 1}
    assert said["probabilities"].keys() == {"0", "1"}
    assert sum(said["probabilities"].values()) == pytest.approx(1)


def history(stack: Stack) -> list[dict[str, Any]]:
    changes = stack.baton("history", "heart-disease")["changes"]
    return [{key: value for key, value in change.items() if key != "served_s"} for change in changes]  # it goes on


def test_champion_history_and_data_survive_down_and_up(stack: Stack, champion: dict[str, Any]) -> None:
    before = history(stack), stack.predict().json()
    stack.compose("down")
    assert stack.containers() == []
    stack.up()
    assert (history(stack), stack.predict().json()) == before
    run, holdout = champion["finished"]["run_id"], champion["finished"]["holdout"]
    found = stack.compose("exec", "-T", "trainer", "python", "-c", DIGEST, run, holdout["artifact"])
    assert found == holdout["digest"], "the run's artifacts are gone"


DIGEST = """
import hashlib, pathlib, sys, mlflow
file = mlflow.artifacts.download_artifacts(run_id=sys.argv[1], artifact_path=sys.argv[2], dst_path="/tmp")
print("sha256:" + hashlib.sha256(pathlib.Path(file).read_bytes()).hexdigest())
"""
