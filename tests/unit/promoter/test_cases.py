"""What a command asks for, and which field of it does not go with its action."""

from typing import Any

import pytest

from services.promoter.cases import case_of_request
from shared.events import PromotionRequested


def case(**command: Any) -> Any:
    return case_of_request("id", "m", PromotionRequested(actor="ann", **command), final=False)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ({}, ("promote", "auto", "policy")),
        ({"version": "auto"}, ("promote", "auto", "policy")),
        ({"version": "3"}, ("promote", "3", "hand")),
        ({"version": "previous"}, ("rollback", "previous", "hand")),
        ({"action": "rollback"}, ("rollback", "", "hand")),
        ({"action": "approve", "version": "3"}, ("approve", "3", "hand")),
        ({"action": "cleanup", "keep": 2}, ("cleanup", "", "hand")),
    ],
)
def test_what_a_command_asks_for(command: dict[str, Any], expected: tuple[str, str, str]) -> None:
    found = case(**command)
    assert ((found.action, found.version, found.by), found.fault) == (expected, "")


@pytest.mark.parametrize(
    ("command", "field"),
    [
        ({"action": "cleanup"}, "keep"),
        ({"action": "cleanup", "keep": 2, "version": "3"}, "version"),
        ({"keep": 2}, "keep"),
        ({"action": "unfreeze", "version": "3"}, "version"),
        ({"action": "rollback", "version": "auto"}, "version"),
        ({"action": "approve", "version": "previous"}, "version"),
    ],
)
def test_a_field_that_does_not_go_with_the_action_is_named(command: dict[str, Any], field: str) -> None:
    assert case(**command).fault.startswith(f"{field}: ")
