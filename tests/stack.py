"""The stack as users start it: `baton up` or `baton demo --keep` as a process, on free ports, in its own directory."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compose.local.state import State, read_state
from tests.servers import wait_for

BATON = str(Path(sys.executable).parent / "baton")
SERVICES = ("predictor", "promoter", "trainer", "mlflow", "nats", "nats_monitor", "postgres")
FREE_PORTS = [word for service in SERVICES for word in ("--port", f"{service}=0")]


@dataclass
class RunningStack:
    """A stack that is ready: its process, its data directory, and what it printed on stdout."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    output: Path

    @property
    def state(self) -> State:
        state = read_state(self.data_dir)
        assert state is not None, f"{self.data_dir} holds no running stack"
        return state

    @property
    def environment(self) -> dict[str, str]:
        """What a user who talks to this stack has in the environment."""
        urls = self.state.urls
        own = {"BATON_NATS_URL": urls["nats"], "BATON_PREDICTOR_URL": urls["predictor"]}
        return {**os.environ, **own, "MLFLOW_TRACKING_URI": urls["mlflow"]}

    def baton(self, *words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a verb of the command line against this stack."""
        command = [BATON, *words, "--data-dir", str(self.data_dir)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)

    def report(self) -> dict[str, Any]:
        """Return the JSON object that the stack printed on stdout."""
        report: dict[str, Any] = json.loads(self.output.read_text())
        return report


@contextmanager
def running_stack(verb: list[str], data_dir: Path, deadline_s: float = 170) -> Iterator[RunningStack]:
    """Run a verb that brings up a stack, wait until it printed its report, and end it as Ctrl-C does."""
    output, errors = data_dir.with_suffix(".out"), data_dir.with_suffix(".err")
    command = [BATON, *verb, "--json", "--data-dir", str(data_dir), *FREE_PORTS]
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, start_new_session=True)
    try:
        wait_for(
            f"{verb} to print its report (see {errors})",
            lambda: output.read_bytes().endswith(b"\n") or process.poll() is not None,
            deadline_s,
        )
        assert process.poll() is None, errors.read_text()
        yield RunningStack(process, data_dir, output)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
            raise
