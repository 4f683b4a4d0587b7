"""Ports of servers that tests start: what one process was given is no other's, also before anybody listens there."""

import secrets
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.nodes import Node
from tests.servers import PORTS, free_port

TAKES_ONE = "from tests.servers import free_port; print(free_port(), flush=True); input()"


def test_a_port_that_another_process_was_given_is_no_longer_free(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", TAKES_ONE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        theirs, chosen = int(other.stdout.readline()), secrets.choice
        choices = iter([theirs])
        monkeypatch.setattr(secrets, "choice", lambda ports: next(choices, None) or chosen(ports))
        ours = free_port()
        other.communicate(b"\n")
    assert ours != theirs
    assert next(choices, None) is None  # theirs was offered


def test_a_port_that_was_given_before_is_no_longer_free(monkeypatch: pytest.MonkeyPatch) -> None:
    first = free_port()
    offered = iter([first, *PORTS])
    monkeypatch.setattr(secrets, "choice", lambda _: next(offered))
    assert free_port() != first


def test_a_port_at_which_somebody_listens_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        offered = iter([listener.getsockname()[1], *PORTS])
        monkeypatch.setattr(secrets, "choice", lambda _: next(offered))
        assert free_port() in PORTS


def test_who_waits_for_a_server_that_ended_is_told_at_once(tmp_path: Path) -> None:
    node = Node("node-1", tmp_path, process=subprocess.Popen([sys.executable, "-c", ""]))
    assert node.process is not None
    node.process.wait(30)
    with pytest.raises(AssertionError, match=r"node-1 ended: see .*node-1\.log"):
        node.is_healthy()
