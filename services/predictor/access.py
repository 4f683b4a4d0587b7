"""The access log: one line per request, off unless it is asked for."""

from time import perf_counter
from typing import Any

from shared.telemetry import logger

log = logger(__name__)


class AccessLog:
    """Writes what was asked and how it ended."""

    def __init__(self, *, on: bool) -> None:
        self.on = on

    def note(
        self, path: str, status: int, started: float, caller: str | None, *, method: str = "POST", **more: Any
    ) -> None:
        """Write a line.

        `started` is of `time.perf_counter`, `caller` the name of the key that was shown, `more` what else is known.
        """
        if self.on:
            more |= {"key": caller} if caller else {}
            ms = round((perf_counter() - started) * 1e3, 3)
            log.info("request", method=method, path=path, status=status, ms=ms, **more)
