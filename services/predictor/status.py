"""How a worker is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Status:
    """`ready` once what was champion at the start is served, from the bus or, while NATS is away, from the cache.

    `workers_ready` counts now, and reads files: not on an event loop.
    """

    worker: int
    workers_ready: Callable[[], int]
    workers_expected: int
    ready: bool
    bus: Literal["connecting", "connected", "unreachable"]
