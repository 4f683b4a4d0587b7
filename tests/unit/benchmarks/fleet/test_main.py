"""What a promotion's delays become, and how predictors are shared out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fleet.__main__ import Chosen, row, shares


def test_the_last_predictor_counts() -> None:
    found = row(Chosen(predictors=3, processes=1, promotions=2), [[1.0, 2.0, 9.0], [3.0, 4.0, 5.0]], 12.34)
    assert (found["first_p50_ms"], found["p50_ms"]) == (2.0, 3.5)
    assert (found["last_p50_ms"], found["last_max_ms"]) == (7.0, 9.0)
    assert (found["predictors"], found["promotions"], found["start_s"]) == (3, 2, 12.3)


@given(st.integers(0, 2000), st.integers(1, 20))
def test_every_predictor_is_in_one_process(whole: int, parts: int) -> None:
    found = shares(whole, parts)
    assert [number for share in found for number in share] == list(range(whole))
    assert max(map(len, found)) - min(map(len, found)) <= 1


@pytest.mark.parametrize(("whole", "parts", "sizes"), [(1000, 4, [250] * 4), (10, 3, [3, 3, 4])])
def test_shares_are_even(whole: int, parts: int, sizes: list[int]) -> None:
    assert [len(share) for share in shares(whole, parts)] == sizes
