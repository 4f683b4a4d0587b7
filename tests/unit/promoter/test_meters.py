"""What a promoter counts, and what it says of outbox and fleet."""

from datetime import UTC, datetime, timedelta
from typing import Any

from services.promoter.ledger.outbox import Change
from services.promoter.meters import Meters, lagging
from tests.exposition import counted

NOTHING: dict[str, Any] = {"models": [], "workers": []}


def worker(state: str, **lags: int | None) -> dict[str, Any]:
    return {"state": state, "models": {model: {"lag": lag} for model, lag in lags.items()}}


def test_outbox_and_fleet_are_told_as_they_are_now() -> None:
    waiting = {"changes": 3, "since": datetime.now(UTC) - timedelta(seconds=60), "waiting": None}
    models = [
        {"model": "a", "generation": 7, "unpublished": waiting},
        {"model": "b", "generation": 1, "unpublished": None},
    ]
    workers = [worker("serving", a=2, b=0), worker("serving", a=1), worker("lost", a=7), worker("serving", gone=None)]
    meters = Meters()
    found = counted(meters.exposed({"models": models, "workers": workers}).decode())
    assert (found["baton_ledger_generation", "a"], found["baton_ledger_generation", "b"]) == (7, 1)
    assert (found["baton_outbox_changes", "a"], found["baton_outbox_changes", "b"]) == (3, 0)
    assert 60 <= found["baton_outbox_age_seconds", "a"] < 600
    assert (found["baton_workers_lagging", "a"], found["baton_workers_lagging", "b"]) == (2, 0)
    assert (found["baton_workers", "serving"], found["baton_workers", "lost"]) == (3, 1)
    assert not [key for key in counted(meters.exposed(NOTHING).decode()) if "a" in key], "what is gone leaves nothing"


def test_a_worker_that_serves_more_than_the_ledger_knows_does_not_lag() -> None:
    assert lagging([worker("serving", a=-1)], "a") == 0


def test_publications_are_counted_with_the_time_since_their_commit() -> None:
    ahead = datetime.now(UTC) + timedelta(hours=1)  # of a server whose clock is ahead
    meters = Meters()
    for generation in (1, 2):
        meters.published(Change("m", generation, "promoted", "1", "r", None, None, "ann", "", None, ahead, "l"))
    meters.failed()
    found = counted(meters.exposed(NOTHING).decode())
    assert found["baton_publish_delay_seconds_count", "promoted"] == 2
    assert found["baton_publish_delay_seconds_sum", "promoted"] == 0
    assert found["baton_publish_failures_total",] == 1
