"""Processes of a pool: Ctrl-C is not theirs to hear."""

import signal
import subprocess
import sys

from cli.migrate.pool import deaf

HEARS = "import signal; print(signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, []))"


def hears() -> bool:
    """Tell whether a process that begins now hears Ctrl-C."""
    return subprocess.run([sys.executable, "-c", HEARS], capture_output=True, check=True).stdout.strip() == b"True"


def test_a_process_never_hears_it_and_who_began_it_does_afterwards() -> None:
    with deaf():
        assert not hears()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert hears()
