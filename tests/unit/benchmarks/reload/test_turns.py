"""Turns of promotions and of none, and what they say of latencies."""

import asyncio
from itertools import pairwise

import numpy as np
import pytest

from benchmarks.reload import turns as module
from benchmarks.reload.turns import p99_ms, p99s_ms, ratio, slow, take_turns

SPANS = [(0.0, 10.0), (20.0, 30.0)]


def steady(latency_s: float, begins: float) -> np.ndarray:
    """Return a request every tenth of a second, for ten seconds."""
    due = begins + np.arange(100) / 10
    return np.column_stack([due, np.full(100, latency_s)])


def test_each_turn_has_its_own_p99() -> None:
    answered = np.concatenate([steady(0.001, 0), steady(0.5, 10), steady(0.003, 20)])
    assert p99s_ms(answered, SPANS) == pytest.approx([1.0, 3.0])


def test_a_turn_without_answers_says_nothing() -> None:
    answered = steady(0.002, 20)
    assert p99s_ms(answered, SPANS) == pytest.approx([np.nan, 2.0], nan_ok=True)
    assert p99_ms(answered, SPANS) == pytest.approx(2.0)
    assert slow(answered, SPANS, 1.0) == 0.5


def test_one_spoilt_turn_does_not_spoil_the_others() -> None:
    answered = np.concatenate([steady(0.001, 0), steady(0.5, 10), steady(0.002, 20)])
    assert p99_ms(answered, [(0.0, 10.0), (10.0, 20.0), (20.0, 30.0)]) == pytest.approx(2.0)


def test_turns_are_compared_within_their_rounds() -> None:
    quiet, busy = [(0.0, 10.0), (20.0, 30.0), (40.0, 50.0)], [(10.0, 20.0), (30.0, 40.0), (50.0, 60.0)]
    seconds = [0.001, 0.002, 0.004, 0.008, 0.002, 0.02]  # the medians' ratio would be 8 / 2
    answered = np.concatenate([steady(latency, 10 * place) for place, latency in enumerate(seconds)])
    assert ratio(answered, busy, quiet) == pytest.approx(2.0)


def test_what_spoils_some_turns_is_in_their_share() -> None:
    answered = np.concatenate([steady(0.001, 0), steady(0.5, 10), steady(0.002, 20), steady(0.003, 30)])
    spans = [(0.0, 10.0), (10.0, 20.0), (20.0, 30.0), (30.0, 40.0)]
    assert slow(answered, spans, 2.5) == 0.5


async def test_a_promotion_one_elsewhere_and_none_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.001)
    done: list[str] = []

    async def here(number: int) -> None:
        done.append(f"here {number}")

    async def elsewhere() -> None:
        done.append("elsewhere")

    turns = await take_turns(20, here, elsewhere)
    assert [each for each in done if each != "elsewhere"] == [f"here {number}" for number in range(20)]
    assert done.count("elsewhere") == len(turns.here) == len(turns.elsewhere) == len(turns.quiet) == 20
    in_time = sorted([*turns.here, *turns.elsewhere, *turns.quiet])
    assert all(ended <= began for (_, ended), (began, _) in pairwise(in_time))  # no two at once
    rounds = zip(turns.here, turns.elsewhere, turns.quiet, strict=True)
    assert {spans.index(min(spans)) for spans in rounds} == {0, 1, 2}  # each begins a round at times


async def test_others_last_as_long_as_a_promotion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.001)

    async def here(_: int) -> None:
        await asyncio.sleep(0.02)

    turns = await take_turns(3, here)
    assert turns.elsewhere == []
    assert all(ended - began >= 0.02 for began, ended in turns.quiet)
