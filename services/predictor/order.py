"""The order of changes: what is news, whichever way it comes, and however often."""

from collections.abc import Iterable


class Order:
    """The order of one model's changes: generations of a ledger grow, and a ledger that was replaced never returns."""

    def __init__(self, replaced: Iterable[str] = ()) -> None:
        self.replaced = frozenset(replaced)
        self._ledger: str | None = None
        self._generation = 0

    def is_news(self, ledger: str, generation: int) -> bool:
        """Tell whether a change comes after the last one."""
        return ledger not in self.replaced and (ledger != self._ledger or generation > self._generation)

    def replaces(self, ledgers: Iterable[str]) -> None:
        """Take note of ledgers that were replaced by the one of the last change."""
        self.replaced |= {*ledgers}

    def advance(self, ledger: str, generation: int) -> bool:
        """Move on to a change; stay and return False if it comes before the last one or is the last one."""
        if not self.is_news(ledger, generation):
            return False
        if self._ledger is not None and ledger != self._ledger:
            self.replaced |= {self._ledger}
        self._ledger, self._generation = ledger, generation
        return True
