"""From a row of the outbox to its event."""

from datetime import UTC, datetime
from typing import Any

from services.promoter.ledger.outbox import Change
from services.promoter.relay import event_of, rejection_of
from shared.errors import BundleError
from shared.events import BundleRef, ModelPromoted, ModelWithdrawn

BUNDLE = BundleRef(object="sha256-1", digest="sha256:1", size=3)


def change(**fields: Any) -> Change:
    row: dict[str, Any] = {
        "model": "m", "generation": 7, "kind": "promoted", "version": "3", "run_id": "r",
        "bundle": BUNDLE.model_dump_json(), "previous": "2", "actor": "ann", "reason": "better", "decision": "d",
        "committed_at": datetime(2026, 1, 1, tzinfo=UTC), "ledger": "l",
    }  # fmt: skip
    return Change(**row | fields)


def test_a_promotion_carries_all_that_a_predictor_needs() -> None:
    event = event_of(change(), BUNDLE)
    assert isinstance(event, ModelPromoted)
    assert (event.version, event.previous, event.bundle, event.decision) == ("3", "2", BUNDLE, "d")
    assert (event.generation, event.ledger, event.actor, event.reason) == (7, "l", "ann", "better")


def test_a_withdrawal_names_what_it_ends() -> None:
    event = event_of(change(kind="withdrawn", version=None, bundle=None), None)
    assert isinstance(event, ModelWithdrawn)
    assert (event.generation, event.previous) == (7, "2")


def test_a_version_that_cannot_be_bundled_is_rejected_with_the_reason() -> None:
    event = rejection_of(change(), BundleError("version 3 cannot be bundled: it is a pickle", "load"))
    assert (event.predictor, event.check, event.version, event.generation) == ("promoter", "load", "3", 7)
    assert event.message == "version 3 cannot be bundled: it is a pickle"
