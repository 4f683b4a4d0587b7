"""What becomes of the times and latencies that the load generator saw."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import numpy as np
import pytest

from benchmarks.reload import turns as module
from benchmarks.reload.__main__ import DELAY_MS, RATIO, Subject, cases, faults, figures, row, series
from benchmarks.reload.turns import Turns
from benchmarks.reload.versions import Two
from tests.unit.benchmarks.reload.test_turns import steady

SUBJECT = Subject(
    "baton", Two("forest", Path(), [], []), made=Mock(), other=None, port=0, process=Mock(), workers=2, rate=12.4
)
WRONG = {"failures": 3, "mismatches": 0}


def test_a_line_compares_turns_with_a_promotion_to_those_with_none_and_with_one_elsewhere() -> None:
    answered = np.concatenate([steady(0.003, 0), steady(0.002, 10), steady(0.001, 20)])
    found = figures(Turns([(0.0, 10.0)], [(10.0, 20.0)], [(20.0, 30.0)]), [5.0, 7.0, 9.0, 11.0], answered)
    assert (found["p99_ms_during"], found["p99_ms_without"], found["p99_ratio"]) == (3.0, 1.0, 3.0)
    assert (found["p99_ms_elsewhere"], found["p99_ratio_elsewhere"]) == (2.0, 1.5)
    assert (found["slow_without"], found["slow_elsewhere"], found["slow_during"]) == (0.0, 1.0, 1.0)
    assert found["delay_p50_ms"] == 8.0


def test_a_system_without_a_registry_compares_to_nothing_elsewhere() -> None:
    answered = np.concatenate([steady(0.002, 0), steady(0.001, 20)])
    found = figures(Turns([(0.0, 10.0)], [], [(20.0, 30.0)]), [5.0], answered)
    assert (found["p99_ratio"], found["p99_ms_elsewhere"], found["p99_ratio_elsewhere"]) == (2.0, None, None)
    assert found["slow_elsewhere"] is None


def test_a_line_says_what_was_asked_of_whom() -> None:
    found = row(SUBJECT, "again", "even", answered=steady(0.001, 0), wrong=WRONG)
    assert (found["system"], found["workers"], found["arrivals"], found["bundles"]) == ("baton", 2, "even", "again")
    assert (found["rps_asked"], found["rps"], found["requests"]) == (12, 10, 100)
    assert (found["failed"], found["mismatched"]) == (3, 0)


async def test_two_versions_are_promoted_by_turns_and_as_often_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.001)
    made, other = AsyncMock(), AsyncMock()
    made.register.side_effect = ["2", "3"]
    made.promote.return_value = [4.0]
    turns, delays_ms = await series("again", replace(SUBJECT, made=made, other=other), 3)
    assert [call.args for call in made.promote.call_args_list] == [("2",), ("3",), ("2",)]
    assert (other.promote.call_count, delays_ms) == (3, [4.0] * 3)
    assert len(turns.here) == len(turns.elsewhere) == 3


async def test_what_is_promoted_fresh_has_no_like_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.001)
    made, other = AsyncMock(), AsyncMock()
    made.register.side_effect = ["2", "3", "4"]
    made.promote.return_value = [4.0]
    turns, _ = await series("fresh", replace(SUBJECT, made=made, other=other), 3)
    assert [call.args for call in made.promote.call_args_list] == [("2",), ("3",), ("4",)]
    assert (other.promote.call_count, turns.elsewhere) == (0, [])


LINE = {"system": "baton", "model": "forest", "workers": 1, "arrivals": "even", "bundles": "again"}
FINE = {"failed": 0, "mismatched": 0, "p99_ratio": RATIO, **DELAY_MS}


@pytest.mark.parametrize(
    ("also", "fault"),
    [
        ({}, None),
        ({"p99_ratio": 1.31}, "p99_ratio is 1.31, beyond 1.3"),
        ({"delay_p50_ms": 10.1}, "delay_p50_ms is 10.1, beyond 10.0"),
        ({"delay_p99_ms": 50.1}, "delay_p99_ms is 50.1, beyond 50.0"),
        ({"p99_ratio": 2.0, "bundles": "fresh"}, None),
        ({"delay_p99_ms": 51.0, "bundles": "fresh"}, "delay_p99_ms is 51.0, beyond 50.0"),
        ({"failed": 1, "bundles": "fresh"}, "requests failed"),
        ({"mismatched": 1}, "answers were not of the version that they name"),
        ({"p99_ratio": 9.0, "failed": 1, "system": "mlserver"}, None),
    ],
)
def test_what_should_not_be_is_a_fault_of_baton_s(also: dict[str, object], fault: str | None) -> None:
    found = faults([LINE | FINE | also])
    assert len(found) == (fault is not None)
    assert fault is None or (fault in found[0] and "forest, workers: 1, arrivals: even" in found[0])


def test_fresh_bundles_are_promoted_once_for_each_model() -> None:
    asked = Namespace(promotions=100, arrivals=["random", "even"], workers=[1, 2])
    again = [("random", "again", 100), ("even", "again", 100)]
    assert [*cases(replace(SUBJECT, workers=1), asked)] == [*again, ("random", "fresh", 10)]
    assert [*cases(replace(SUBJECT, workers=2), asked)] == again
