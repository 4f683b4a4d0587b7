"""Starting real servers for tests, waiting for them, and ending each by its own handle."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, check: Callable[[], bool], deadline_s: float = 60.0) -> None:
    """Poll a condition; fail saying what was waited for."""
    ends = time.monotonic() + deadline_s
    while time.monotonic() < ends:
        if check():
            return
        time.sleep(0.05)
    pytest.fail(f"waited {deadline_s:.0f} s in vain for {what}")


@contextmanager
def running(
    command: list[str], log: Path, env: dict[str, str] | None = None, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in a process group of its own, and end the whole group afterwards."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(env or {})},
            **options,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait(10)


def answers(url: str) -> Callable[[], bool]:
    def check() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                return bool(response.status == 200)
        except urllib.error.HTTPError as error:
            error.close()  # it holds the connection
            return False
        except OSError:
            return False

    return check
