"""How a worker is."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Status:
    """`ready` once what was champion at the start is served, from the bus or, while NATS is away, from the cache."""

    worker: int
    workers_ready: int
    workers_expected: int
    ready: bool
    bus: Literal["connecting", "connected", "unreachable"]
