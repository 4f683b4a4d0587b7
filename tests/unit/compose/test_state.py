"""What a stack publishes about itself, and files that are for their owner only."""

import os
import stat
from pathlib import Path

import pytest

from compose.local.datadir import DataDir, write_private
from compose.local.state import State, read_state, write_state
from shared.settings import without_password

URLS = {"nats": "nats://127.0.0.1:4222", "postgres": "postgresql://mlflow:s3cret@127.0.0.1:5432/baton"}


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    data = DataDir(tmp_path / "data")
    data.create()
    return data


def state(data: DataDir, pid: int) -> State:
    return State(pid, str(data.root), 12.5, URLS, {"nats": 1})


def test_what_a_living_stack_wrote_is_read_back(data: DataDir) -> None:
    write_state(data, state(data, os.getpid()))
    assert read_state(data.root) == state(data, os.getpid())


def test_the_state_of_a_dead_stack_is_no_state(data: DataDir) -> None:
    write_state(data, state(data, 2**22 + 1))  # beyond the highest pid that Linux gives
    assert read_state(data.root) is None


def test_a_recycled_pid_is_not_the_stack(data: DataDir) -> None:
    write_state(data, state(data, os.getpid()))
    data.state.write_text(data.state.read_text().replace('"created": 1', '"created": 2'))
    assert read_state(data.root) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pid": 1, "created": 1.0}', "\x00"])
def test_a_damaged_state_is_no_state(data: DataDir, content: str) -> None:
    data.state.write_text(content)
    assert read_state(data.root) is None


def test_no_directory_is_no_state(tmp_path: Path) -> None:
    assert read_state(tmp_path / "nowhere") is None


def test_the_state_is_for_its_owner_and_shows_no_password(data: DataDir) -> None:
    write_state(data, state(data, os.getpid()))
    assert stat.S_IMODE(data.state.stat().st_mode) == 0o600
    assert "s3cret" in data.state.read_text()
    assert "s3cret" not in str(state(data, 1).public_urls)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h:1/d", "postgresql://u:***@h:1/d"),
        ("postgresql+psycopg2://u:p:q@h/d", "postgresql+psycopg2://u:***@h/d"),
        ("nats://:token@h", "nats://:***@h"),
        ("nats://u:p@a:1,nats://u:p@b:2", "nats://u:***@a:1,nats://u:***@b:2"),
        ("http://h:5000/a@b", "http://h:5000/a@b"),
    ],
)
def test_passwords_are_hidden(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_a_secret_is_made_once_and_kept(data: DataDir) -> None:
    assert data.secret("postgres") == data.secret("postgres")
    assert len(data.secret("postgres")) >= 24
    assert stat.S_IMODE((data.secrets / "postgres").stat().st_mode) == 0o600
    assert stat.S_IMODE(data.secrets.stat().st_mode) == 0o700


def test_a_private_file_replaces_what_was_there_and_what_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "file"
    (tmp_path / ".file.new").write_text("cut off half-w")
    path.write_text("old")
    write_private(path, "new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
