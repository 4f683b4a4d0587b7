"""How much each column of MLflow's database holds, read from the database itself: it grows from version to version."""

from collections.abc import Mapping
from dataclasses import dataclass, field

QUERY = """
    SELECT table_name, column_name, character_maximum_length FROM information_schema.columns
    WHERE table_schema = current_schema() AND character_maximum_length IS NOT NULL
"""


@dataclass(frozen=True)
class Limits:
    """Longest texts, in characters, by table and column; a column that is not named has no limit."""

    columns: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def get(self, table: str, column: str) -> int | None:
        """Return the longest text that a column holds, None if any."""
        return self.columns.get((table, column))
