"""How long to wait before a child that died is started again."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Exponential delays in seconds; a child that ran well for `healthy_s` starts counting from new."""

    first_s: float = 0.2
    factor: float = 2.0
    longest_s: float = 10.0
    healthy_s: float = 30.0

    def failures_after(self, failures: int, ran_s: float) -> int:
        """Return the failures in a row after one more end, `ran_s` seconds after the child was ready."""
        return 1 if ran_s >= self.healthy_s else failures + 1

    def delay_s(self, failures: int) -> float:
        """Return the delay before the start that follows so many failures in a row."""
        if failures <= 0:
            return 0.0
        doublings = min(failures - 1, 64)  # beyond that the power overflows, and the limit was reached long ago
        return min(self.first_s * self.factor**doublings, self.longest_s)
