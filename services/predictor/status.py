"""How a worker is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Status:
    """`ready` once what was champion at the start is served, from the bus or, while NATS is away, from the cache.

    `count_ready` counts the workers that are ready, and reads files: not on an event loop.
    """

    worker: int
    count_ready: Callable[[], int]
    workers_expected: int
    ready: bool
    bus: Literal["connecting", "connected", "unreachable"]
