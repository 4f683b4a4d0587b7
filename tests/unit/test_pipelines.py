"""The pipelines that users copy call verbs that exist, with options that they have."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from cli.main import make_app

FOLDER = Path(__file__).parents[2] / "examples" / "pipelines"
CALL = re.compile(r"\.venv/bin/baton ([^'\n]+?)(?: *>[^'\n]*)?(?:'|$)", re.MULTILINE)
CALLS = [(path.name, call) for path in sorted(FOLDER.iterdir()) for call in CALL.findall(path.read_text())]


def test_each_pipeline_trains_and_asks_what_is_served() -> None:
    for name in ("Jenkinsfile", "github-actions.yml"):
        assert {shlex.split(call)[0] for path, call in CALLS if path == name} == {"train", "models"}


@pytest.mark.parametrize(("path", "call"), CALLS)
def test_what_a_pipeline_calls_is_understood(path: str, call: str) -> None:
    command: Any = typer.main.get_command(make_app())
    words = shlex.split(call)
    name, verb, words = command.resolve_command(command.make_context("baton", list(words)), words)
    verb.make_context(name, list(words))  # raises for an option that the verb does not have


def test_the_workflow_is_yaml_with_a_job_of_steps() -> None:
    workflow = yaml.safe_load((FOLDER / "github-actions.yml").read_text())
    assert all("run" in step or "uses" in step for step in workflow["jobs"]["train"]["steps"])
