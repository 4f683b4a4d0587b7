"""Fault points do nothing unless a test arms them, and then act once."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.faults import FOLDER, POINTS, point

ROOT = Path(__file__).parents[3]
PASS = "from shared.faults import point; point('relay.read'); print('passed')"


def passing(folder: Path | None) -> subprocess.CompletedProcess[str]:
    environment = {FOLDER: str(folder)} if folder else {}
    return subprocess.run(
        [sys.executable, "-c", PASS], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_a_point_does_nothing_where_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "relay.read").touch()
    assert passing(None).stdout == "passed\n"


def test_an_armed_point_kills_the_first_process_that_passes_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "relay.read").touch()
    assert passing(tmp_path).returncode == -signal.SIGKILL
    assert passing(tmp_path).stdout == "passed\n"


def test_another_point_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "relay.bundled").touch()
    assert passing(tmp_path).stdout == "passed\n"
    assert (tmp_path / "relay.bundled").exists()


def test_a_point_may_hold_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    (tmp_path / "relay.read").write_text("sleep 0.2\n")
    began = time.monotonic()
    point("relay.read")
    assert time.monotonic() - began >= 0.2


def test_what_a_point_cannot_do_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    (tmp_path / "relay.read").write_text("explode")
    with pytest.raises(ValueError, match="takes `kill` or `sleep SECONDS`, not 'explode'"):
        point("relay.read")


def test_the_points_that_are_listed_are_those_in_the_code() -> None:
    passed = [
        name
        for path in (ROOT / "services").rglob("*.py")
        for name in re.findall(r'\bpoint\("(.+?)"\)', path.read_text())
    ]
    assert sorted(passed) == sorted(POINTS)
