"""The gate of a worker: how many requests are inside, and whether it is being emptied."""

from types import TracebackType

from shared.errors import OverloadedError


class Gate:
    """Lets in at most `limit` requests at a time; `with gate:` is one of them."""

    def __init__(self, limit: int) -> None:
        self.inside = 0
        self.is_draining = False
        self._limit = limit

    def __enter__(self) -> None:
        """Let a request in; raise `OverloadedError` if too many are inside."""
        if self.inside >= self._limit:
            raise OverloadedError(f"{self._limit} requests are waiting here, the most that are taken: ask again later")
        self.inside += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.inside -= 1
