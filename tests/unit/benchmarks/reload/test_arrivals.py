"""When requests are due: so many per second on average, evenly or at random."""

import statistics
from itertools import islice, pairwise

import pytest

from benchmarks.reload.arrivals import at_random, paced


def test_even_requests_are_due_at_fixed_times() -> None:
    pace = paced("even", 10.0, 100.0)
    assert [pace.due(now) for now in (100.0, 100.05, 100.11, 100.15, 100.25, 100.25)] == [0, 0, 1, 0, 1, 0]
    assert pace.wait(100.25) == pytest.approx(0.05)


def test_even_requests_that_are_noticed_late_come_one_by_one_and_so_do_those_after_them() -> None:
    pace = paced("even", 10.0, 100.0)
    assert [pace.due(100.45), pace.due(100.45)] == [1, 0]
    assert pace.wait(100.45) == pytest.approx(0.1)
    assert [pace.due(now) for now in (100.56, 100.66)] == [1, 1]


def test_random_requests_that_are_noticed_late_do_not_move_what_comes_then() -> None:
    times = list(islice(at_random(10.0, 100.0), 4))
    pace = paced("random", 10.0, 100.0)
    noticed = (times[2] + times[3]) / 2
    assert pace.due(noticed) == 3
    assert pace.wait(noticed) == pytest.approx(times[3] - noticed)
    assert pace.wait(times[3] + 1) == 0.0


def test_random_requests_know_nothing_of_each_other() -> None:
    """Distances of a Poisson process: their mean is 1 / rate, and so is their deviation."""
    gaps = [later - earlier for earlier, later in pairwise(islice(at_random(100.0, 5.0), 20_000))]
    assert statistics.fmean(gaps) == pytest.approx(0.01, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(0.01, rel=0.03)


def test_the_same_times_come_in_every_run() -> None:
    assert list(islice(at_random(100.0, 5.0), 10)) == list(islice(at_random(100.0, 5.0), 10))
