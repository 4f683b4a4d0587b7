"""What a migration found that is not as it should be, and what was done about it."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Action(StrEnum):
    """What became of an item that is not as it should be."""

    REPAIRED = "repaired"  # it went through, changed by a stated rule
    QUARANTINED = "quarantined"  # it stays behind: nothing true can be said of it
    SKIPPED = "skipped"  # it stays behind because of a conflict or a choice of the user's
    NOTED = "noted"  # it went through as it is, and the user should know something


@dataclass(frozen=True)
class Finding:
    """One such item: where it is below the source, what kind of thing, what was done, and why."""

    path: str
    kind: str
    action: Action
    reason: str


@dataclass
class Findings:
    """Findings in the order in which they were made."""

    items: list[Finding] = field(default_factory=list)

    def repaired(self, path: str, kind: str, reason: str) -> None:
        """Note that an item was changed and goes through."""
        self.items.append(Finding(path, kind, Action.REPAIRED, reason))

    def quarantined(self, path: str, kind: str, reason: str) -> None:
        """Note that an item stays behind because it is broken."""
        self.items.append(Finding(path, kind, Action.QUARANTINED, reason))

    def skipped(self, path: str, kind: str, reason: str) -> None:
        """Note that an item stays behind by a rule."""
        self.items.append(Finding(path, kind, Action.SKIPPED, reason))

    def noted(self, path: str, kind: str, reason: str) -> None:
        """Note something about an item that goes through as it is."""
        self.items.append(Finding(path, kind, Action.NOTED, reason))

    def count(self) -> dict[str, int]:
        """Return how many findings there are of each action."""
        return dict(Counter(str(finding.action) for finding in self.items))
