"""What happened in a run and when, for whoever looks for a cause afterwards."""

from datetime import UTC, datetime
from pathlib import Path


class Journal:
    """A file of lines with the time of day, UTC."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, line: str) -> None:
        """Write a line down."""
        with self.path.open("a") as file:
            file.write(f"{datetime.now(UTC):%H:%M:%S.%f} {line}\n")
