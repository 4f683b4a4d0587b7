"""How much of a store is in hand at a time: memory does not grow with its size."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bounds:
    """Runs in a transaction, points of a history that are read together, characters of rows that wait to be sent."""

    runs: int = 40  # few enough to lose little, many enough that commits cost nothing
    points: int = 50_000
    chars: int = 8_000_000
