"""Turns of a promotion here, one elsewhere, and none; so short that a pause of the machine spoils one or two."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random

import numpy as np

PAUSE_S = 0.25
SEED = 1

Span = tuple[float, float]


@dataclass
class Turns:
    """When a promotion went on, here or elsewhere, or none did: from and to, by `time.monotonic`."""

    here: list[Span] = field(default_factory=list)
    elsewhere: list[Span] = field(default_factory=list)
    quiet: list[Span] = field(default_factory=list)


async def take_turns(
    count: int, here: Callable[[int], Awaitable[None]], elsewhere: Callable[[], Awaitable[None]] | None = None
) -> Turns:
    """Promote so often, each time here, elsewhere if it is given, and not at all for as long, in an order by chance."""
    turns, chance, lasts_s = Turns(), Random(SEED), 0.0
    for number in range(count):
        works = [
            (turns.here, partial(here, number)),
            (turns.quiet, None),
            *([(turns.elsewhere, elsewhere)] if elsewhere else []),
        ]
        if number:  # the first one says how long they are
            chance.shuffle(works)
        for spans, work in works:
            spans.append(await turn(work, 0.0 if spans is turns.here else lasts_s))
            lasts_s = turns.here[-1][1] - turns.here[-1][0]
    return turns


async def turn(work: Callable[[], Awaitable[None]] | None, seconds: float) -> Span:
    """Do some work, if any, then pause, for so long together at least; return when that began and ended."""
    began = time.monotonic()
    if work:
        await work()
    await asyncio.sleep(max(PAUSE_S, began + seconds - time.monotonic()))
    return began, time.monotonic()


def p99_ms(answered: np.ndarray, spans: list[Span]) -> float:
    """Return the median of the turns' p99: of all requests, it would be that of the machine's longest pauses."""
    return float(np.nanmedian(p99s_ms(answered, spans)))


def ratio(answered: np.ndarray, spans: list[Span], others: list[Span]) -> float:
    """Return the median of how many times the others' p99 theirs is, each compared in its own round.

    A machine is quiet at one time and not at another, which those that were measured side by side have in common.
    """
    return float(np.nanmedian(p99s_ms(answered, spans) / p99s_ms(answered, others)))


def slow(answered: np.ndarray, spans: list[Span], limit_ms: float) -> float:
    """Return the share of turns whose p99 is beyond a limit, in which what is rare shows, too."""
    return float(np.mean(p99s_ms(answered, spans) > limit_ms))


def p99s_ms(answered: np.ndarray, spans: list[Span]) -> np.ndarray:
    """Return the p99 in ms of the requests that were due in each turn, of few nearly the slowest; NaN if none were."""
    due, latencies = answered[:, 0], answered[:, 1]
    inside = [latencies[(due >= began) & (due < ended)] for began, ended in spans]
    return np.array([np.percentile(found, 99) * 1e3 if len(found) else np.nan for found in inside])
