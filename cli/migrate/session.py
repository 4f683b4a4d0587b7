"""One transaction of a migration: what the target holds, and what is written to it."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class
from psycopg2.extras import execute_values

from cli.migrate.bounds import Bounds
from cli.migrate.records import LOGGED_MODEL, MODEL, RUN, Records
from cli.migrate.rows import Rows
from cli.migrate.target import next_experiment_id

WORKSPACE = "default"
HELD = {
    RUN: "SELECT run_uuid FROM runs WHERE run_uuid = ANY(%s)",
    LOGGED_MODEL: "SELECT model_id FROM logged_models WHERE model_id = ANY(%s)",
    MODEL: "SELECT name FROM registered_models WHERE workspace = 'default' AND name = ANY(%s)",
}


class Session:
    """Reads and writes MLflow's tables, and the records of one source, in a transaction of its owner's."""

    def __init__(self, cursor: Cursor, source: str, bounds: Bounds) -> None:
        self.records = Records(cursor, source)
        self._cursor, self._bounds = cursor, bounds

    def rows(self) -> Rows:
        """Return rows to be gathered, of which a batch has many."""
        return Rows(self._cursor, self._bounds)

    def create(self, table_and_columns: str, row: tuple[object, ...]) -> None:
        """Insert a row that must not be there yet."""
        self.write(sql.SQL("INSERT INTO {} VALUES %s").format(sql.SQL(table_and_columns)), [row])

    def insert(self, table_and_columns: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Insert a few rows; what is there already stands."""
        if rows:
            query = sql.SQL("INSERT INTO {} VALUES %s ON CONFLICT DO NOTHING").format(sql.SQL(table_and_columns))
            self.write(query, rows)

    def write(self, query: sql.Composed, rows: Sequence[tuple[object, ...]]) -> None:
        """Execute an INSERT for a few rows."""
        execute_values(self._cursor, query, rows)

    def held(self, kind: str, keys: Iterable[str]) -> set[str]:
        """Return which of these runs, logged models (ids) or registered models (names) the target has."""
        return held(self._cursor, kind, keys)

    def new_experiment(self) -> int:
        """Return an experiment's id that nobody has or will have."""
        return next_experiment_id(self._cursor)

    def datasets(self, experiment: int) -> dict[tuple[str, str], str]:
        """Return the ids of an experiment's data sets by name and digest."""
        self._cursor.execute("SELECT name, digest, dataset_uuid FROM datasets WHERE experiment_id = %s", (experiment,))
        return {(name, digest): number for name, digest, number in self._cursor.fetchall()}

    def capture(self) -> None:
        """Let the capture see what this transaction writes."""
        self._cursor.execute("SET LOCAL baton.capture = 'on'")

    def settle(self) -> None:
        """Have on disk, with the commit of this transaction, everything before it."""
        self._cursor.execute("SET LOCAL synchronous_commit = on")
        self._cursor.execute("SELECT pg_current_xact_id()")


Sessions = Callable[[], AbstractContextManager[Session]]


def held(cursor: Cursor, kind: str, keys: Iterable[str]) -> set[str]:
    """Return which of these runs, logged models (ids) or registered models (names) MLflow's tables have."""
    cursor.execute(HELD[kind], (list(keys),))
    return {key for (key,) in cursor.fetchall()}
