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


# How they arrive, and whether only one by one.
ARRIVALS: dict[str, tuple[Callable[[float, float], Iterator[float]], bool]] = {
    "random": (at_random, False),
    "even": (evenly, True),
}


class Pace:
    """Requests that become due at given times.

    Who looks late finds several due at once. At random that happens anyway; of those at equal distances it would make a
    burst, which is the fault of who asks. `one_by_one`, what comes after is as much later, and so many fewer are sent.
    """

    def __init__(self, times: Iterator[float], *, one_by_one: bool) -> None:
        self._times = times
        self._one_by_one = one_by_one
        self._late = 0.0
        self._next = next(times)

    def due(self, now: float) -> int:
        """Return how many have become due since this was asked last."""
        count = 0
        while self._next + self._late <= now:
            was_due = self._next + self._late
            self._next = next(self._times)
            count += 1
            if self._one_by_one and self._next + self._late <= now:
                self._late += now - was_due
        return count

    def wait(self, now: float) -> float:
        """Return how many seconds it is until the next one becomes due."""
        return max(0.0, self._next + self._late - now)


def paced(arrivals: str, rate: float, begins: float) -> Pace:
    """Return so many requests a second, from a time on, that arrive in one of the ways of `ARRIVALS`."""
    times, one_by_one = ARRIVALS[arrivals]
    return Pace(times(rate, begins), one_by_one=one_by_one)
