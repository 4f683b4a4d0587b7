"""What a predictor counts, for Prometheus.

Each worker counts in files that are mapped into its memory (`prometheus_client`'s multiprocess mode), and whichever is
asked adds up the files of all: of workers that died, too, for a counter never goes back.
"""

import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from services.predictor.slot import Champion
from shared.events import Check, ModelPromoted
from shared.tracing import tracing

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
ANSWER_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
DELAY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


def share(folder: Path) -> None:
    """Have the workers that this process starts count in a folder that they share, from nothing."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ[FOLDER] = str(folder)


class Meters:
    """The counters of one worker."""

    def __init__(self) -> None:
        if FOLDER in os.environ:
            pid = os.getpid()  # asked for once: by default it is, by a system call, with every count
            values.ValueClass = values.MultiProcessValue(lambda: pid)  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        self._answers = Histogram(
            "baton_prediction_seconds", "Answered predictions, by how long they took here",
            ["model", "version"], registry=registry, buckets=ANSWER_S,
        )  # fmt: skip
        self._failures = Counter(
            "baton_prediction_failures",
            "Predictions that were not answered, by HTTP status",
            ["status"],
            registry=registry,
        )
        inside = Gauge(
            "baton_predictions_inside",
            "Predictions that are being awaited",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.inside = inside.track_inprogress()
        """A prediction that is being awaited: `with meters.inside:`."""
        self._swaps = Histogram(
            "baton_swap_delay_seconds", "Swaps of champions, by the time since the commit in the registry",
            ["model", "prefetched"], registry=registry, buckets=DELAY_S,
        )  # fmt: skip
        self._generation = Gauge(
            "baton_champion_generation", "The change that is in effect, a withdrawal too, the oldest of all workers'",
            ["model"], registry=registry, multiprocess_mode="livemin",
        )  # fmt: skip
        self._rejections = Counter(
            "baton_versions_rejected",
            "Versions that are not served, by the check that failed",
            ["check"],
            registry=registry,
        )
        for check in get_args(Check):
            self._rejections.labels(check)  # from zero on: Prometheus sees no increase in what begins with 1
        self._bundles = Counter(
            "baton_bundles", "Bundles by where they came from: the cache or the bus; damaged ones, evicted ones",
            ["event"], registry=registry,
        )  # fmt: skip
        self._fetched = Counter("baton_bundle_fetched_bytes", "Bytes of bundles from the bus", registry=registry)
        self._latencies: dict[tuple[str, str], Histogram] = {}

    def answered(self, champion: Champion, seconds: float) -> None:
        """Count an answer. The histogram is looked up once per version: `labels` takes as long as all the rest."""
        key = champion.key
        if (latency := self._latencies.get(key)) is None:
            latency = self._latencies[key] = self._answers.labels(*key)
            about = {"model": champion.model, "version": champion.version}
            tracing.record("first prediction", champion.request_id, time.time() - seconds, **about)
        latency.observe(seconds)

    def failed(self, status: int) -> None:
        """Count a prediction that was not answered."""
        self._failures.labels(str(status)).inc()

    def swapped(self, champion: Champion, promoted: ModelPromoted, *, prefetched: bool) -> None:
        """Count a swap to a champion."""
        delay_s = (champion.since - promoted.committed_at).total_seconds()
        self._swaps.labels(champion.model, str(prefetched).lower()).observe(delay_s)
        self.applied(champion.model, champion.generation)

    def applied(self, model: str, generation: int) -> None:
        """Note which change of a model's champion is in effect.

        A withdrawal is noted like a promotion: `prometheus_client` removes no series of several processes, and what
        stayed would look like a worker that lags.
        """
        self._generation.labels(model).set(generation)

    def rejected(self, check: str) -> None:
        """Count a version that failed a check."""
        self._rejections.labels(check).inc()

    def bundle(self, event: str, fetched_bytes: int = 0) -> None:
        """Count a bundle that was `cached`, `fetched`, `damaged` or `evicted`."""
        self._bundles.labels(event).inc()
        self._fetched.inc(fetched_bytes)

    def exposed(self) -> bytes:
        """Return everything in Prometheus's text format, summed over the workers."""
        if (folder := os.environ.get(FOLDER)) is None:
            return generate_latest(self._registry)
        forget_dead(Path(folder))
        together = CollectorRegistry()
        MultiProcessCollector(together, folder)  # type: ignore[no-untyped-call]
        return generate_latest(together)


def forget_dead(folder: Path) -> None:
    """Remove what workers that died last said of their state; what they counted stays."""
    for pid in {int(found[0]) for file in folder.glob("gauge_live*.db") if (found := re.findall(r"\d+", file.stem))}:
        with suppress(FileNotFoundError):
            try:
                os.kill(pid, 0)
            except (ProcessLookupError, PermissionError):  # nobody's, or by now somebody else's
                mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
