"""What a trainer counts, for Prometheus."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from shared.events import RunFailed, RunFinished

Outcome = RunFinished | RunFailed
OUTCOMES = ("finished", "refused", "failed", "crashed", "timeout", "cancelled", "unsupported")
RUN_S = (1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)


class Meters:
    """The counters of one trainer; `running` returns how many trainings run."""

    def __init__(self, running: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        self._ended = Histogram(
            "baton_train_request_seconds",
            "Train requests that ended here, by how, and how long the last attempt took",
            ["outcome"], registry=registry, buckets=RUN_S,
        )  # fmt: skip
        for outcome in OUTCOMES:
            self._ended.labels(outcome)  # from zero on: Prometheus sees no increase in what begins with 1
        self._postponed = Counter(
            "baton_train_requests_postponed", "Attempts that ended without an end of the request: it comes again",
            registry=registry,
        )  # fmt: skip
        Gauge("baton_trainings_running", "Trainings that run here now", registry=registry).set_function(running)
        self._queue = Gauge("baton_train_queue", "Train requests that no trainer has taken up yet", registry=registry)

    @contextmanager
    def attempt(self) -> Iterator[Callable[[Outcome | None], None]]:
        """Count one attempt at a request: hand in how it ended, or raise if it is delivered again."""
        started = perf_counter()

        def ended(outcome: Outcome | None) -> None:
            if outcome is not None:
                kind = outcome.kind if isinstance(outcome, RunFailed) else "finished"
                self._ended.labels(kind).observe(perf_counter() - started)

        try:
            yield ended
        except Exception:
            self._postponed.inc()
            raise

    def exposed(self, queue: int | None) -> bytes:
        """Return everything in Prometheus's text format; `queue` is None where the bus does not say."""
        self._queue.set(math.nan if queue is None else queue)
        return generate_latest(self._registry)
