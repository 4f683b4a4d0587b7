"""A core is cleared of what may be moved, and everything returns to where it was."""

import os
from pathlib import Path

import pytest

from benchmarks import cores


def test_threads_and_work_leave_the_core_and_return(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    placed = {1001: {0, 1}, 1002: {0}}
    unbound = tmp_path / "cpumask"
    unbound.write_text("3\n")

    def place(thread: int, to: set[int]) -> None:
        if not to:
            raise ValueError("no core is left")
        placed[thread] = to

    monkeypatch.setattr(cores, "UNBOUND", unbound)
    monkeypatch.setattr(cores, "kernel_threads", lambda: [*placed.items()])
    monkeypatch.setattr(os, "sched_setaffinity", place)
    with cores.cleared(0) as done:
        assert placed == {1001: {1}, 1002: {0}}
        assert unbound.read_text() == "2"
        assert done == "1 of the kernel's 2 threads kept off the server's core"
    assert placed == {1001: {0, 1}, 1002: {0}}
    assert unbound.read_text() == "3"


def test_where_nothing_may_be_moved_nothing_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(cores, "UNBOUND", tmp_path / "not there")
    monkeypatch.setattr(cores, "kernel_threads", lambda: [(1001, {0, 1})])
    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    with cores.cleared(0) as done:
        assert done == "0 of the kernel's 1 threads kept off the server's core"
    assert not (tmp_path / "not there").exists()


def test_cores_stay_awake_as_long_as_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "LATENCY", tmp_path / "latency")
    with cores.awake() as done:
        assert done == "idle cores kept awake"
        assert (tmp_path / "latency").read_bytes() == bytes(4), "zero microseconds"


def test_where_it_may_not_be_asked_for_they_sleep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "LATENCY", tmp_path / "no folder" / "latency")
    with cores.awake() as done:
        assert done == "idle cores free to sleep"


def test_the_server_has_the_core_that_devices_interrupt_least() -> None:
    table = """\
           CPU0       CPU1       CPU2
 26:          0          4          0  IO-APIC   4-edge      ttyS0
 36:         70         10          0 PCI-MSIX-0000:00:02.0   1-edge      disk
 41:          0          0         50 PCI-MSIX-0000:00:04.0   1-edge      net
LOC:          0     100000          0   Local timer interrupts
ERR:          0
"""
    assert cores.by_interrupts(table) == [1, 2, 0]
