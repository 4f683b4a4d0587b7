"""The child that opens models: what a hostile or broken model file does there touches nobody else."""

import asyncio
import json
import os
import pickle
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from services.promoter.bundling.bundler import ROOT, run_child
from services.promoter.bundling.child import Job, Outcome
from shared.tasks import end
from tests.processes import pid_is_alive
from tests.servers import wait_for

MLMODEL = {
    "flavors": {"sklearn": {"pickled_model": "model.pkl", "serialization_format": "pickle"}},
    "saved_input_example_info": {
        "artifact_path": "input_example.json", "pandas_orient": "split", "type": "dataframe",
    },
}  # fmt: skip
EXAMPLE = {"columns": ["x"], "data": [[1.0]]}


class Calls:
    """Pickled, a call of a function as soon as somebody opens the file."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


def job(folder: Path, opened: Calls, memory_mb: int = 4096) -> Job:
    model = folder / "model"
    model.mkdir()
    (model / "MLmodel").write_text(json.dumps(MLMODEL))
    (model / "input_example.json").write_text(json.dumps(EXAMPLE))
    (model / "model.pkl").write_bytes(pickle.dumps(opened))
    return Job(str(model), None, str(folder / "bundle.tar"), str(folder / "outcome.json"), memory_mb, allow_code=True)


async def outcome(folder: Path, opened: Calls, memory_mb: int = 4096, timeout_s: float = 60) -> Outcome:
    return await run_child(job(folder, opened, memory_mb), timeout_s)


async def test_one_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    command = f"sleep 600 & echo $! > {tmp_path}/grandchild; wait"
    running = asyncio.create_task(outcome(tmp_path, Calls(os.system, command), timeout_s=20))
    assert await running == Outcome(check="deadline", message="it took longer than 20 s (BATON_BUNDLE_TIMEOUT_S)")
    grandchild = int((tmp_path / "grandchild").read_text())
    await asyncio.to_thread(wait_for, "the grandchild to end", lambda: not pid_is_alive(grandchild), 10)


async def test_one_that_needs_too_much_memory_says_so(tmp_path: Path) -> None:
    found = await outcome(tmp_path, Calls(bytearray, 3_000_000_000), memory_mb=2048)
    assert found == Outcome(check="load", message="it needs more memory than 2048 MB (BATON_BUNDLE_MEMORY_MB)")


async def test_one_that_kills_its_process_says_so(tmp_path: Path) -> None:
    assert await outcome(tmp_path, Calls(os._exit, 7)) == Outcome(
        check="load", message="the process that opened the model died (exit code 7)"
    )


async def test_the_promoters_environment_stays_with_the_promoter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATON_DATABASE_URL", "postgresql://secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    await outcome(tmp_path, Calls(os.system, f"env > {tmp_path}/seen"))
    assert "PATH=" in (tmp_path / "seen").read_text()
    assert "secret" not in (tmp_path / "seen").read_text()


async def test_what_is_no_estimator_is_refused(tmp_path: Path) -> None:
    found = await outcome(tmp_path, Calls(dict))
    assert (found.check, found.message) == (
        "warm_up", "it fails on its golden rows: AttributeError: 'dict' object has no attribute 'predict'",
    )  # fmt: skip


def test_it_ends_with_the_promoter(tmp_path: Path) -> None:
    started = tmp_path / "started"
    task = json.dumps(asdict(job(tmp_path, Calls(os.system, f"touch {started}; sleep 600"))))
    command = [sys.executable, "-m", "services.promoter.bundling.child"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT, start_new_session=True) as child:
        assert child.stdin is not None
        child.stdin.write(task.encode() + b"\n")
        child.stdin.flush()
        wait_for("the model to be opened", started.exists)
        child.stdin.close()
        assert child.wait(10) == -9


async def test_a_cancelled_bundling_leaves_no_child(tmp_path: Path) -> None:
    running = asyncio.create_task(outcome(tmp_path, Calls(os.system, f"echo $$ > {tmp_path}/pid; sleep 600")))
    await asyncio.to_thread(wait_for, "the model to be opened", (tmp_path / "pid").exists)
    await end([running])
    pid = int((tmp_path / "pid").read_text())
    await asyncio.to_thread(wait_for, "the child to end", lambda: not pid_is_alive(pid), 10)
