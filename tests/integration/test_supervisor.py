"""The supervisor, with stand-ins for the parts: order, healing, failures to start, and that nothing is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import psutil
import pytest

from compose.local import leftovers
from compose.local.backoff import Backoff
from compose.local.child import Change, Child
from compose.local.datadir import DataDir
from compose.local.lock import clear, held
from compose.local.supervisor import Supervisor
from shared.errors import StackError
from tests.integration.stub_stack import journal, stub, stubs
from tests.processes import alive
from tests.servers import wait_for

QUICK = Backoff(first_s=0.05, longest_s=0.1)
UP, DOWN = ["started base", "started middle", "started top"], ["stopped top", "stopped middle", "stopped base"]


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    data = DataDir(tmp_path / "data")
    data.create()
    return data


class Changes(list[Change]):
    """What a supervisor told, and waiting for it to tell more."""

    def states(self, part: str) -> list[str]:
        return [change.state for change in self if change.part == part]

    async def until(self, part: str, state: str, times: int) -> None:
        """Wait until a part has reached a state so many times."""
        with anyio.move_on_after(30):
            while self.states(part).count(state) < times:
                await anyio.sleep(0.02)
            return
        pytest.fail(f"waited 30 s in vain for {part} to be {state} {times} times: {self}")


def supervisor(children: list[Child], data: DataDir, changes: Changes) -> Supervisor:
    return Supervisor(children, data, changes.append, QUICK)


def notes(data: DataDir) -> list[str]:
    return journal(data).read_text().splitlines()


async def test_parts_start_when_what_they_need_is_ready_and_stop_in_reverse(data: DataDir) -> None:
    changes = Changes()
    async with supervisor(stubs(data), data, changes).running():
        assert notes(data) == UP
    assert notes(data) == UP + DOWN
    assert changes.states("base") == ["starting", "ready", "stopping", "stopped"]
    assert [c.part for c in changes if c.state == "ready"] == ["base", "middle", "top"]
    assert leftovers.find(data) == []


async def test_a_part_that_is_not_started_here_is_not_waited_for(data: DataDir) -> None:
    async with supervisor([stub(data, "top", after=("attached",))], data, Changes()).running():
        assert notes(data) == ["started top"]


async def test_a_killed_child_comes_back_and_what_it_left_behind_is_gone(data: DataDir) -> None:
    changes = Changes()
    running = supervisor(stubs(data), data, changes)
    async with running.running():
        first = running.pids["middle"]
        (runaway,) = psutil.Process(first).children()
        assert os.getsid(runaway.pid) != os.getsid(first)
        os.kill(first, signal.SIGKILL)
        await changes.until("middle", "ready", times=2)
        assert running.pids["middle"] != first
        assert alive([runaway]) == []
    assert changes.states("middle")[2] == "restarting"
    assert next(c.detail for c in changes if c.state == "restarting") == "ended by SIGKILL"
    assert changes.states("top").count("ready") == 1  # its neighbours were left alone


async def test_a_child_that_keeps_dying_is_started_again_and_again(data: DataDir) -> None:
    changes = Changes()
    running = supervisor([stub(data, "base")], data, changes)
    async with running.running():
        for times in range(2, 9):  # more often than the tries of a first start
            os.kill(running.pids["base"], signal.SIGKILL)
            await changes.until("base", "ready", times)


async def test_a_child_that_does_not_stop_is_killed(data: DataDir) -> None:
    running = supervisor([stub(data, "base", "stubborn", stop_within_s=0.2)], data, Changes())
    async with running.running():
        process = psutil.Process(running.pids["base"])
    assert not process.is_running()


async def test_a_cancellation_is_an_orderly_stop(data: DataDir) -> None:
    with anyio.CancelScope() as scope:
        async with supervisor(stubs(data), data, Changes()).running():
            scope.cancel()
            await anyio.sleep_forever()
    assert notes(data) == UP + DOWN


async def test_an_error_of_the_caller_is_an_orderly_stop(data: DataDir) -> None:
    with pytest.raises(ZeroDivisionError):
        async with supervisor(stubs(data), data, Changes()).running():
            raise ZeroDivisionError
    assert notes(data) == UP + DOWN


async def test_a_child_that_dies_at_once_is_named_with_the_end_of_its_log(data: DataDir) -> None:
    broken = replace(stub(data, "middle", after=("base",)), argv=(sys.executable, "-c", "raise OSError('no luck')"))
    with pytest.raises(StackError) as error:
        async with supervisor([stub(data, "base"), broken], data, Changes()).running():
            pytest.fail("the stack was ready without one of its parts")
    for said in ("middle cannot be started", "exit code 1", str(data.log("middle")), "OSError: no luck"):
        assert said in str(error.value)
    assert notes(data) == ["started base", "stopped base"]


async def test_a_child_that_is_never_ready_is_named_with_what_is_missing(data: DataDir) -> None:
    async def check() -> str | None:
        return "1 of 2 workers is ready"

    late = replace(stub(data, "base"), check=check, ready_within_s=0.3)
    with pytest.raises(StackError, match=r"base cannot be started: not ready after .* \(1 of 2 workers is ready\)"):
        async with supervisor([late], data, Changes()).running():
            pytest.fail("the stack was ready without one of its parts")
    assert leftovers.find(data) == []


async def test_a_program_that_does_not_exist_is_named(data: DataDir) -> None:
    missing = replace(stub(data, "base"), argv=("/nowhere/nats-server",))
    with pytest.raises(StackError, match="base cannot be started: /nowhere/nats-server: No such file"):
        async with supervisor([missing], data, Changes()).running():
            pytest.fail("the stack was ready without one of its parts")


async def test_a_directory_that_is_held_says_by_whom(data: DataDir) -> None:
    async with held(data):
        with pytest.raises(StackError) as error:
            async with held(data):
                pytest.fail("two stacks hold one directory")
    for said in (str(data.root), f"pid {os.getpid()}", f"since {time.strftime('%Y-')}", "--data-dir"):
        assert said in str(error.value)
    async with held(data):
        pass


def test_a_stranger_with_a_recorded_pid_is_not_touched(data: DataDir) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as stranger:
        try:
            record = leftovers.Record("base", stranger.pid, created=time.time() - 3600, stop_signal=signal.SIGTERM)
            leftovers.keep_record(data, record)
            clear(data)
            assert stranger.poll() is None
        finally:
            stranger.kill()


@contextmanager
def stub_stack(data: DataDir) -> Iterator[subprocess.Popen[str]]:
    """Run the stand-ins under a supervisor in a process of its own, and leave nothing when the test ends."""
    command = [sys.executable, "-m", "tests.integration.stub_stack", str(data.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()
            process.wait(10)
            wait_for("the end of what the test started", lambda: leftovers.end(data) == [], 30)


def family(process: subprocess.Popen[str]) -> tuple[list[psutil.Process], psutil.Process]:
    """Return the children of a supervisor with all their descendants, and its guardian."""
    descendants = psutil.Process(process.pid).children(recursive=True)
    guardians = [each for each in descendants if "compose.local.guardian" in each.cmdline()]
    assert len(descendants) == 5  # three children, a runaway, the guardian
    return [each for each in descendants if each not in guardians], guardians[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_nothing_is_left_after_a_signal(data: DataDir, number: signal.Signals) -> None:
    with stub_stack(data) as process:
        children, guardian = family(process)
        process.send_signal(number)
        assert process.wait(30) == 0
        assert alive([*children, guardian]) == []
    assert notes(data) == UP + DOWN


def test_nothing_is_left_after_the_supervisor_was_killed(data: DataDir) -> None:
    with stub_stack(data) as process:
        children, guardian = family(process)
        process.kill()
        wait_for("the guardian to clear up", lambda: alive([*children, guardian]) == [], 30)


def test_a_start_right_after_the_kill_waits_for_the_guardian(data: DataDir) -> None:
    with stub_stack(data) as killed:
        children, guardian = family(killed)
        killed.kill()
        with stub_stack(data) as process:
            assert alive([*children, guardian]) == []
            assert len(alive(family(process)[0])) == 4


def test_a_start_clears_up_when_the_guardian_was_killed_too(data: DataDir) -> None:
    with stub_stack(data) as killed:
        children, guardian = family(killed)
        guardian.kill()
        killed.kill()
        killed.wait(10)
        assert len(alive(children)) == 4
        with stub_stack(data) as process:
            assert alive(children) == []
            assert len(alive(family(process)[0])) == 4
