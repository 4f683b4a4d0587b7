"""What becomes of the times and latencies that the load generator saw."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import numpy as np
import pytest

from benchmarks.reload import __main__ as reload
from benchmarks.reload.__main__ import BOUNDS, Subject, Turns, cases, faults, p99_ms, p99s_ms, row, series
from benchmarks.reload.versions import Two

FOREST = Two("forest", Path(), [], [])
SUBJECT = Subject("baton", FOREST, made=Mock(), other=None, port=0, process=Mock(), workers=2)
SPANS = [(0.0, 10.0), (20.0, 30.0)]


def steady(latency_s: float, begins: float) -> np.ndarray:
    """Return a request every tenth of a second, for ten seconds."""
    due = begins + np.arange(100) / 10
    return np.column_stack([due, np.full(100, latency_s)])


def test_each_turn_has_its_own_p99() -> None:
    answered = np.concatenate([steady(0.001, 0), steady(0.5, 10), steady(0.003, 20)])
    assert p99s_ms(answered, SPANS) == pytest.approx([1.0, 3.0])


def test_a_turn_without_answers_says_nothing() -> None:
    assert p99s_ms(steady(0.002, 20), SPANS) == pytest.approx([2.0])


def test_one_spoilt_turn_does_not_spoil_the_others() -> None:
    answered = np.concatenate([steady(0.001, 0), steady(0.5, 10), steady(0.002, 20)])
    assert p99_ms(answered, [(0.0, 10.0), (10.0, 20.0), (20.0, 30.0)]) == pytest.approx(2.0)


def test_a_line_compares_times_with_promotions_to_those_with_none_and_with_some_elsewhere() -> None:
    answered = np.concatenate([steady(0.003, 0), steady(0.002, 10), steady(0.001, 20)])
    turns = Turns([(0.0, 10.0)], [(10.0, 20.0)], [(20.0, 30.0)], delays_ms=[5.0, 7.0, 9.0, 11.0])
    wrong = {"failures": 3, "mismatches": 0}
    found = row(SUBJECT, "again", "even", turns, answered=answered, wrong=wrong)
    assert (found["system"], found["promotions"], found["failed"], found["mismatched"]) == ("baton", 1, 3, 0)
    assert (found["workers"], found["arrivals"], found["bundles"]) == (2, "even", "again")
    assert (found["p99_ms_during"], found["p99_ms_without"], found["p99_ratio"]) == (3.0, 1.0, 3.0)
    assert (found["p99_ms_elsewhere"], found["p99_ratio_elsewhere"]) == (2.0, 1.5)
    assert (found["requests"], found["delay_p50_ms"]) == (300, 8.0)


def test_a_line_of_a_system_without_a_registry_compares_to_nothing_elsewhere() -> None:
    answered = np.concatenate([steady(0.002, 0), steady(0.001, 20)])
    turns = Turns([(0.0, 10.0)], [], [(20.0, 30.0)], delays_ms=[5.0])
    found = row(SUBJECT, "again", "even", turns, answered=answered, wrong={"failures": 0, "mismatches": 0})
    assert (found["p99_ratio"], found["p99_ms_elsewhere"], found["p99_ratio_elsewhere"]) == (2.0, None, None)


async def test_promotions_here_elsewhere_and_none_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "PAUSE_S", 0.001)
    made, other = AsyncMock(), AsyncMock()
    made.register.side_effect = ["2", "3"]
    made.promote.return_value = [4.0]
    turns = await series("again", replace(SUBJECT, made=made, other=other), 3)
    assert [call.args for call in made.promote.call_args_list] == [("2",), ("3",), ("2",)]
    assert other.promote.call_count == 3
    assert turns.delays_ms == [4.0] * 3
    rounds = [*zip(turns.here, turns.elsewhere, turns.quiet, strict=True)]
    assert len(rounds) == 3
    moments = [moment for each in rounds for span in each for moment in span]
    assert moments == sorted(moments)  # no two at once
    for (began, ended), elsewhere, (quiet_from, quiet_to) in rounds:
        assert elsewhere[1] - elsewhere[0] >= (ended - began) * 0.99
        assert quiet_to - quiet_from >= (ended - began) * 0.99


async def test_what_is_promoted_fresh_has_no_like_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "PAUSE_S", 0.001)
    made, other = AsyncMock(), AsyncMock()
    made.register.side_effect = ["2", "3", "4"]
    made.promote.return_value = [4.0]
    turns = await series("fresh", replace(SUBJECT, made=made, other=other), 3)
    assert [call.args for call in made.promote.call_args_list] == [("2",), ("3",), ("4",)]
    assert (other.promote.call_count, turns.elsewhere) == (0, [])


LINE = {"system": "baton", "model": "forest", "workers": 1, "arrivals": "even", "bundles": "again"}
FINE = {"failed": 0, "mismatched": 0, **BOUNDS}


@pytest.mark.parametrize(
    ("also", "fault"),
    [
        ({}, None),
        ({"p99_ratio": 1.31}, "p99_ratio is 1.31, beyond 1.3"),
        ({"delay_p50_ms": 10.1}, "delay_p50_ms is 10.1, beyond 10.0"),
        ({"delay_p99_ms": 50.1}, "delay_p99_ms is 50.1, beyond 50.0"),
        ({"p99_ratio": 2.0, "bundles": "fresh"}, None),
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
