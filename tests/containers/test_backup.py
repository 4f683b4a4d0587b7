"""A backup of containers, through a pipe, restored into an empty stack: the same champion, history and answers."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.containers.conftest import ROOT
from tests.containers.stack import Stack
from tests.servers import wait_for

pytestmark = pytest.mark.timeout(3600)
RUN = ("run", "--rm", "-T", "backup")
OWNERS = "SELECT DISTINCT schemaname, tableowner FROM pg_tables WHERE schemaname IN ('public', 'baton') ORDER BY 1"


def history(stack: Stack) -> list[tuple[Any, ...]]:
    changes = stack.baton("history", "heart-disease")["changes"]
    return [tuple(change[key] for key in ("generation", "version", "run_id", "reason")) for change in changes]


def owners(stack: Stack) -> list[str]:
    psql = ("psql", "--username", "postgres", "--dbname", "baton", "-At", "-c", OWNERS)
    return stack.compose("exec", "-T", "postgres", *psql).splitlines()


def test_a_backup_is_restored_into_an_empty_stack(stack: Stack, proxy_image: str, tmp_path: Path) -> None:
    archive = tmp_path / "baton.tar"
    with archive.open("wb") as file:
        taken = stack.piped((*RUN, "backup", "-"), stdout=file)
    assert taken.returncode == 0, taken.stderr[-3000:]
    before = history(stack), stack.predict("/models/heart-disease/predict").json()
    with Stack.cloned(ROOT, tmp_path / "baton", "restored", {"BATON_PROXY_IMAGE": proxy_image}) as other:
        other.up()
        with archive.open("rb") as file:
            restored = other.piped((*RUN, "restore", "-", "--json"), stdin=file, stdout=subprocess.PIPE)
        assert restored.returncode == 0, restored.stderr[-3000:]
        assert json.loads(restored.stdout)["champions"]["heart-disease"] == before[1]["version"]
        path = "/models/heart-disease/predict"
        wait_for("the restored champion", lambda: other.predict(path).status_code == 200, 120)
        assert (history(other), other.predict(path).json()) == before
        assert owners(other) == owners(stack) == ["baton|promoter", "public|mlflow"]
        # And it goes on from there, with MLflow's own role.
        said = other.baton("train", "heart-disease", "--recipe", "logistic-regression", "--model", "other", "--wait")
        assert said["decided"]["verdict"] == "promoted"
