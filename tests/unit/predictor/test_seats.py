"""Seats: each worker has its own index, a dead worker's is taken again, and everybody knows who is ready."""

import subprocess
import sys
from pathlib import Path

import pytest

from services.predictor import seats
from shared.locks import is_held

HOLD = """
import sys
from pathlib import Path
from services.predictor.seats import take_seat
seat = take_seat(Path(sys.argv[1]), 2)
seat.say_ready()
print(seat.index, flush=True)
sys.stdin.read()
"""


def test_workers_sit_side_by_side_and_a_killed_ones_seat_is_taken_again(tmp_path: Path) -> None:
    own = seats.take_seat(tmp_path, 2)
    assert own.index == 0
    assert seats.ready_workers(tmp_path, own) == 0
    own.say_ready()
    assert seats.ready_workers(tmp_path, own) == 1
    for _ in range(2):
        command = [sys.executable, "-c", HOLD, str(tmp_path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"1\n"
            assert seats.ready_workers(tmp_path, own) == 2
            other.kill()
        assert seats.ready_workers(tmp_path, own) == 1
    own.leave()


def test_who_looks_takes_nobody_else_for_a_worker(tmp_path: Path) -> None:
    own, gone = seats.take_seat(tmp_path, 2), seats.take_seat(tmp_path, 2)
    gone.say_ready()
    gone.leave()
    with (tmp_path / f"{gone.index}.lock").open("r+") as looked_at:
        assert not is_held(looked_at)
        assert seats.ready_workers(tmp_path, own) == 0
    own.leave()


def test_a_worker_that_starts_is_not_ready(tmp_path: Path) -> None:
    first, second = seats.take_seat(tmp_path, 2), seats.take_seat(tmp_path, 2)
    second.say_ready()
    second.leave()
    again = seats.take_seat(tmp_path, 2)
    assert again.index == second.index
    assert seats.ready_workers(tmp_path, first) == 0
    first.leave()
    again.leave()


def test_when_all_seats_stay_taken_one_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seats, "PATIENCE_S", 0.05)
    taken = [seats.take_seat(tmp_path, 1) for _ in range(2)]
    assert [seat.index for seat in taken] == [0, 1]
    for seat in taken:
        seat.leave()
