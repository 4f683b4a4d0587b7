"""How long the supervisor waits before it starts a child again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.local.backoff import Backoff

BACKOFF = Backoff(first_s=0.5, factor=2.0, longest_s=5.0, healthy_s=30.0)


@pytest.mark.parametrize(
    ("failures", "delay_s"), [(0, 0.0), (1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 5.0), (6, 5.0), (10_000, 5.0)]
)
def test_delays_double_up_to_the_longest(failures: int, delay_s: float) -> None:
    assert BACKOFF.delay_s(failures) == delay_s


@pytest.mark.parametrize(("failures", "ran_s", "after"), [(0, 0.0, 1), (3, 29.9, 4), (3, 30.0, 1), (0, 1e9, 1)])
def test_a_child_that_ran_well_counts_from_new(failures: int, ran_s: float, after: int) -> None:
    assert BACKOFF.failures_after(failures, ran_s) == after


@given(st.integers(min_value=0, max_value=10**9))
def test_more_failures_never_mean_a_shorter_wait_nor_one_beyond_the_longest(failures: int) -> None:
    assert BACKOFF.delay_s(failures) <= BACKOFF.delay_s(failures + 1) <= BACKOFF.longest_s
