"""When requests are due: so many per second on average, evenly or at random, and whoever looks late misses none."""

import statistics
from itertools import islice, pairwise

import pytest

from benchmarks.reload.arrivals import ARRIVALS, Pace, at_random, evenly


def test_even_requests_are_due_at_fixed_times() -> None:
    pace = Pace(evenly(10.0, 100.0))
    assert [pace.due(now) for now in (100.0, 100.05, 100.11, 100.15, 100.45, 100.45)] == [0, 0, 1, 0, 3, 0]


@pytest.mark.parametrize("arrivals", ARRIVALS)
def test_what_was_noticed_late_does_not_move_what_comes_then(arrivals: str) -> None:
    times = list(islice(ARRIVALS[arrivals](10.0, 100.0), 4))
    pace = Pace(ARRIVALS[arrivals](10.0, 100.0))
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
