"""To which versions one can go back."""

import pytest

from services.promoter.ledger.lineage import Step, predecessors
from shared.events import Action

ROLLBACK: Action = "rollback"


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], []),
        ([Step("1")], []),
        ([Step("1"), Step("2"), Step("3")], ["2", "1"]),
        ([Step("1"), Step("2"), Step("3"), Step("2", ROLLBACK)], ["1"]),
        ([Step("1"), Step("2"), Step("3"), Step("2", ROLLBACK), Step("1", ROLLBACK)], []),
        ([Step("1"), Step("2"), Step("1")], ["2"]),
        ([Step("1"), Step("2"), Step("1", ROLLBACK), Step("3")], ["1"]),
        ([Step("1"), Step("2"), Step(None)], ["2", "1"]),
        ([Step("1"), Step("2"), Step("7", ROLLBACK)], ["2", "1"]),
    ],
)
def test_predecessors(steps: list[Step], expected: list[str]) -> None:
    assert predecessors(steps) == expected
