"""When the requests of a steady load are due."""

import random
from collections.abc import Callable, Iterator

SEED = 1


def at_random(rate: float, begins: float) -> Iterator[float]:
    """Yield times of requests that know nothing of each other, as those of many users: a Poisson process.

    At 70 % of a server's capacity some wait for others then, whatever the server does besides.
    """
    gaps = random.Random(SEED)
    while True:
        begins += gaps.expovariate(rate)
        yield begins


def evenly(rate: float, begins: float) -> Iterator[float]:
    """Yield times at equal distances, as of one clock: below a capacity none waits for another."""
    count = 0
    while True:
        count += 1
        yield begins + count / rate


ARRIVALS: dict[str, Callable[[float, float], Iterator[float]]] = {"random": at_random, "even": evenly}


class Pace:
    """Requests that become due at given times."""

    def __init__(self, times: Iterator[float]) -> None:
        self._times = times
        self._next = next(times)

    def due(self, now: float) -> int:
        """Return how many have become due since this was asked last."""
        count = 0
        while self._next <= now:
            self._next = next(self._times)
            count += 1
        return count

    def wait(self, now: float) -> float:
        """Return how many seconds it is until the next one becomes due."""
        return max(0.0, self._next - now)
