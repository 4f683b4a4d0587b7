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
        assert done == "1 of the kernel's 2 threads kept off core 0, the server's"
    assert placed == {1001: {0, 1}, 1002: {0}}
    assert unbound.read_text() == "3"


def test_where_nothing_may_be_moved_nothing_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(cores, "UNBOUND", tmp_path / "not there")
    monkeypatch.setattr(cores, "kernel_threads", lambda: [(1001, {0, 1})])
    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    with cores.cleared(0) as done:
        assert done == "0 of the kernel's 1 threads kept off core 0, the server's"
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


TABLE = """\
           CPU0       CPU1       CPU2
 26:          0          4          0  IO-APIC   4-edge      ttyS0
 30:          0     900000          0     GICv3  27 Level     arch_timer
 36:         70         10          0 PCI-MSIX-0000:00:02.0   1-edge      disk
 41:          0          0         50 PCI-MSIX-0000:00:04.0   1-edge      net
LOC:          0     100000          0   Local timer interrupts
ERR:          0
"""


def test_the_server_has_the_core_that_devices_interrupt_least(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "INTERRUPTS", tmp_path / "interrupts")
    (tmp_path / "interrupts").write_text(TABLE)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert cores.by_interrupts(TABLE, {0, 1, 2}) == [1, 2, 0]
    assert cores.chosen() == (1, 0)


@pytest.mark.parametrize(("allowed", "server_and_load"), [({0, 2}, (2, 0)), ({1}, (1, 1))])
def test_only_cores_that_may_be_used_are_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: set[int], server_and_load: tuple[int, int]
) -> None:
    monkeypatch.setattr(cores, "INTERRUPTS", tmp_path / "interrupts")
    (tmp_path / "interrupts").write_text(TABLE)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: allowed)
    assert cores.chosen() == server_and_load


def test_where_nobody_counts_interrupts_the_first_core_is_the_server_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "INTERRUPTS", tmp_path / "not there")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 8})
    assert cores.chosen() == (3, 8)
