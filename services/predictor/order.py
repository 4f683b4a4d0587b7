"""The order of changes: what is news, whichever way it comes, and however often."""


class Order:
    """The order of one model's changes: generations of a ledger grow, and a ledger that was replaced never returns."""

    def __init__(self) -> None:
        self._ledger: str | None = None
        self._generation = 0
        self._replaced: set[str] = set()

    def is_news(self, ledger: str, generation: int) -> bool:
        """Tell whether a change comes after the last one."""
        return ledger not in self._replaced and (ledger != self._ledger or generation > self._generation)

    def advance(self, ledger: str, generation: int) -> bool:
        """Move on to a change; stay and return False if it comes before the last one or is the last one."""
        if not self.is_news(ledger, generation):
            return False
        if self._ledger is not None and ledger != self._ledger:
            self._replaced.add(self._ledger)
        self._ledger, self._generation = ledger, generation
        return True
