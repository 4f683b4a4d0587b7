"""Which workers are behind what was published, and which only seem so."""

from typing import Any

import pytest

from services.promoter.ledger.outbox import Published
from services.promoter.reconciler import Laggard, laggards
from shared.events import BundleRef

BUNDLE = BundleRef(object="o", digest="sha256:1", size=1).model_dump_json()


def published(**fields: Any) -> Published:
    row: dict[str, Any] = {
        "model": "m", "generation": 5, "kind": "promoted", "version": "3", "bundle": BUNDLE, "published_s_ago": 60.0,
        "ledger": "l",
    }  # fmt: skip
    return Published(**row | fields)


def worker(
    generation: int | None, state: str = "serving", rejected: int | None = None, only: list[str] | None = None
) -> dict[str, Any]:
    return {
        "predictor": "p", "worker": 1, "state": state, "only": only,
        "models": {} if generation is None else {"m": {"version": "2", "generation": generation}},
        "rejected": {} if rejected is None else {"m": {"version": "3", "generation": rejected}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("one", "change", "behind"),
    [
        (worker(5), published(), None),
        (worker(6), published(), None),
        (worker(4), published(), 4),
        (worker(None), published(), 0),
        (worker(None, only=["other"]), published(), None),
        (worker(None, only=["other", "m"]), published(), 0),
        (worker(4), published(published_s_ago=5.0), None),
        (worker(4, state="lost"), published(), None),
        (worker(4, rejected=5), published(), None),
        (worker(3, rejected=4), published(), 4),
        (worker(4), published(bundle="no bundle"), None),
        (worker(4), published(kind="withdrawn", version=None, bundle=None), 4),
        (worker(None), published(kind="withdrawn", version=None, bundle=None), None),
    ],
)
def test_who_is_behind(one: dict[str, Any], change: Published, behind: int | None) -> None:
    expected = [] if behind is None else [Laggard("p", 1, "m", behind, change.generation)]
    assert laggards([one], [change], patience_s=30.0) == expected
