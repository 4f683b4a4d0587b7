"""What becomes of the times and latencies that the load generator saw."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import numpy as np
import pytest

from benchmarks.reload import __main__ as reload
from benchmarks.reload.__main__ import Blocks, Subject, p99_ms, p99s_ms, row, series
from benchmarks.reload.versions import Two

FOREST = Two("forest", Path(), [], [])
SUBJECT = Subject("baton", FOREST, made=Mock(), other=None, port=0, process=Mock(), workers=2)
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


def test_one_spoilt_block_does_not_spoil_the_others() -> None:
    answered = np.concatenate([steady(0.001, 0), steady(0.5, 10), steady(0.002, 20)])
    assert p99_ms(answered, [(0.0, 10.0), (10.0, 20.0), (20.0, 30.0)]) == pytest.approx(2.0)


def test_a_line_compares_times_with_promotions_to_those_with_none_and_with_some_elsewhere() -> None:
    answered = np.concatenate([steady(0.003, 0), steady(0.002, 10), steady(0.001, 20)])
    blocks = Blocks([(0.0, 10.0)], [(10.0, 20.0)], [(20.0, 30.0)], delays_ms=[5.0, 7.0, 9.0, 11.0], promotions=2)
    wrong = {"failures": 3, "mismatches": 0}
    found = row(SUBJECT, "again", "even", blocks, answered=answered, wrong=wrong)
    assert (found["system"], found["promotions"], found["failed"], found["mismatched"]) == ("baton", 2, 3, 0)
    assert (found["workers"], found["arrivals"], found["bundles"]) == (2, "even", "again")
    assert (found["p99_ms_during"], found["p99_ms_without"], found["p99_ratio"]) == (3.0, 1.0, 3.0)
    assert (found["p99_ms_elsewhere"], found["p99_ratio_elsewhere"]) == (2.0, 1.5)
    assert (found["requests"], found["delay_p50_ms"]) == (300, 8.0)


def test_a_line_of_a_system_without_a_registry_compares_to_nothing_elsewhere() -> None:
    answered = np.concatenate([steady(0.002, 0), steady(0.001, 20)])
    blocks = Blocks([(0.0, 10.0)], [], [(20.0, 30.0)], delays_ms=[5.0], promotions=1)
    found = row(SUBJECT, "again", "even", blocks, answered=answered, wrong={"failures": 0, "mismatches": 0})
    assert (found["p99_ratio"], found["p99_ms_elsewhere"], found["p99_ratio_elsewhere"]) == (2.0, None, None)


async def test_promotions_here_elsewhere_and_none_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "PAUSE_S", 0.001)
    made, other = AsyncMock(), AsyncMock()
    made.register.side_effect = ["2", "3"]
    made.promote.return_value = [4.0]
    blocks = await series("again", replace(SUBJECT, made=made, other=other), 13)
    assert [call.args for call in made.promote.call_args_list] == [("2",), ("3",)] * 6 + [("2",)]
    assert other.promote.call_count == 13
    assert (blocks.promotions, blocks.delays_ms) == (13, [4.0] * 13)
    turns = [*zip(blocks.here, blocks.elsewhere, blocks.quiet, strict=True)]
    assert len(turns) == 2
    moments = [moment for turn in turns for span in turn for moment in span]
    assert moments == sorted(moments)  # no two at once
    for (began, ended), elsewhere, (quiet_from, quiet_to) in turns:
        assert elsewhere[1] - elsewhere[0] >= (ended - began) * 0.99
        assert quiet_to - quiet_from >= (ended - began) * 0.99


async def test_what_is_promoted_fresh_has_no_like_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "PAUSE_S", 0.001)
    made, other = AsyncMock(), AsyncMock()
    made.register.side_effect = ["2", "3", "4"]
    made.promote.return_value = [4.0]
    blocks = await series("fresh", replace(SUBJECT, made=made, other=other), 3)
    assert [call.args for call in made.promote.call_args_list] == [("2",), ("3",), ("4",)]
    assert (other.promote.call_count, blocks.elsewhere) == (0, [])
