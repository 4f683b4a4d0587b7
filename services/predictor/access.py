"""The access log: one line per request, off unless it is asked for."""

import re
from collections.abc import Iterable
from time import perf_counter
from typing import Any

from shared.telemetry import logger

REQUEST, TRACE = b"x-request-id", b"traceparent"
LONGEST = 100  # of an id that anybody may send
TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")

Headers = Iterable[tuple[bytes, bytes]]

log = logger(__name__)


class AccessLog:
    """Writes what was asked and how it ended."""

    def __init__(self, *, on: bool) -> None:
        self.on = on

    def note(
        self, path: str, status: int, started: float, headers: Headers, *, method: str = "POST", **more: Any
    ) -> None:
        """Write a line; `started` is of `time.perf_counter`, `more` what else is known, None what is not."""
        if self.on:
            known = {name: value for name, value in {**ids_in(headers), **more}.items() if value is not None}
            ms = round((perf_counter() - started) * 1e3, 3)
            log.info("request", method=method, path=path, status=status, ms=ms, **known)


def ids_in(headers: Headers) -> dict[str, str]:
    """Return how a request is called elsewhere: `request` of `X-Request-Id`, `trace` of W3C's `traceparent`."""
    given = {name: value.decode("latin-1") for name, value in headers if name in {REQUEST, TRACE}}
    ids = {"request": given[REQUEST][:LONGEST]} if REQUEST in given else {}
    if found := TRACEPARENT.fullmatch(given.get(TRACE, "")):
        ids["trace"] = found[1]
    return ids
