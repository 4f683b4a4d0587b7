"""Ports of servers that tests start: what one process was given is no other's, also before anybody listens there."""

import secrets
import subprocess
import sys

import pytest

from tests.servers import free_port

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


def test_no_two_ports_are_the_same() -> None:
    ports = [free_port() for _ in range(20)]
    assert len(set(ports)) == len(ports)
