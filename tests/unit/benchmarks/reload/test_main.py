"""What becomes of the times and latencies that the load generator saw."""

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from benchmarks.reload.__main__ import Blocks, Subject, p99s_ms, row
from benchmarks.reload.versions import Two

SUBJECT = Subject("baton", Two("forest", Path(), [], []), made=Mock(), port=0, process=Mock(), workers=2)
SPANS = [(0.0, 10.0), (20.0, 30.0)]


def steady(latency_s: float, begins: float) -> np.ndarray:
    """Return a request every tenth of a second, for ten seconds."""
    due = begins + np.arange(100) / 10
    return np.column_stack([due, np.full(100, latency_s)])


def test_each_block_has_its_own_p99() -> None:
    answered = np.concatenate([steady(0.001, 0), steady(0.5, 10), steady(0.003, 20)])
    assert p99s_ms(answered, SPANS) == pytest.approx([1.0, 3.0])


def test_a_block_without_answers_says_nothing() -> None:
    assert p99s_ms(steady(0.002, 20), SPANS) == pytest.approx([2.0])


def test_a_line_compares_times_with_promotions_and_without() -> None:
    answered = np.concatenate([steady(0.002, 0), steady(0.001, 10)])
    blocks = Blocks([(0.0, 10.0)], [(10.0, 20.0)], delays_ms=[5.0, 7.0, 9.0, 11.0], promotions=2)
    wrong = {"failures": 3, "mismatches": 0}
    found = row(SUBJECT, "again", "even", blocks, answered=answered, wrong=wrong)
    assert (found["system"], found["promotions"], found["failed"], found["mismatched"]) == ("baton", 2, 3, 0)
    assert (found["workers"], found["arrivals"], found["bundles"]) == (2, "even", "again")
    assert (found["p99_ms_during"], found["p99_ms_without"], found["p99_ratio"]) == (2.0, 1.0, 2.0)
    assert (found["requests"], found["delay_p50_ms"]) == (200, 8.0)
