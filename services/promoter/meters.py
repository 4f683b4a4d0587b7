"""What a promoter counts, for Prometheus, and what it knows of outbox and fleet."""

from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from services.promoter.ledger.outbox import Change
from shared.events import PromotionDecided

PUBLISH_S = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
STATES = ("serving", "lost")


class Meters:
    """The counters of one promoter; `exposed` adds the present state, which is the same through every promoter."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._decisions = Counter(
            "baton_decisions", "Decisions made here, by what was asked for and the verdict",
            ["action", "verdict"], registry=registry,
        )  # fmt: skip
        self._published = Histogram(
            "baton_publish_delay_seconds", "Changes of champions published here, by the time since their commit",
            ["kind"], registry=registry, buckets=PUBLISH_S,
        )  # fmt: skip
        self._waiting = Counter(
            "baton_publish_failures", "Attempts to publish a change of a champion that failed", registry=registry
        )

    def decided(self, decided: PromotionDecided) -> None:
        """Count a decision."""
        self._decisions.labels(decided.action, decided.verdict).inc()

    def published(self, change: Change) -> None:
        """Count a change that the bus has; the commit's clock is PostgreSQL's."""
        delay_s = (datetime.now(UTC) - change.committed_at).total_seconds()
        self._published.labels(change.kind).observe(max(delay_s, 0.0))

    def failed(self) -> None:
        """Count a change that could not be published, and waits."""
        self._waiting.inc()

    def exposed(self, overview: Mapping[str, Any]) -> bytes:
        """Return everything in Prometheus's text format; `overview` is what `Status.overview` returns."""
        return generate_latest(self._registry) + generate_latest(_state(overview, datetime.now(UTC)))


def _state(overview: Mapping[str, Any], now: datetime) -> CollectorRegistry:
    """Return the state of things as gauges of their own, so that what is gone leaves no series behind."""
    registry = CollectorRegistry()
    models, workers = overview["models"], overview["workers"]
    _by_model(registry, "baton_ledger_generation", "The generation of a model's champion in the ledger", {
        row["model"]: row["generation"] for row in models
    })  # fmt: skip
    _by_model(registry, "baton_outbox_changes", "Committed changes that are not on the bus yet", {
        row["model"]: row["unpublished"]["changes"] if row["unpublished"] else 0 for row in models
    })  # fmt: skip
    _by_model(registry, "baton_outbox_age_seconds", "How long the oldest of them waits", {
        row["model"]: (now - row["unpublished"]["since"]).total_seconds() if row["unpublished"] else 0 for row in models
    })  # fmt: skip
    _by_model(registry, "baton_workers_lagging", "Workers that serve an older generation than the ledger's", {
        row["model"]: lagging(workers, row["model"]) for row in models
    })  # fmt: skip
    known = Gauge(
        "baton_workers", "Workers of predictors: heard of, or silent for too long", ["state"], registry=registry
    )
    states = Tally(worker["state"] for worker in workers)
    for state in STATES:
        known.labels(state).set(states[state])
    return registry


def _by_model(registry: CollectorRegistry, name: str, help_text: str, values: Mapping[str, float]) -> None:
    gauge = Gauge(name, help_text, ["model"], registry=registry)
    for model, value in values.items():
        gauge.labels(model).set(value)


def lagging(workers: Iterable[Mapping[str, Any]], model: str) -> int:
    """Return how many workers that are heard of are behind the ledger's generation of a model."""
    heard = (worker["models"].get(model) for worker in workers if worker["state"] == "serving")
    return sum(1 for served in heard if served is not None and (served["lag"] or 0) > 0)
