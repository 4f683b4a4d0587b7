"""MLflow's database as a migration writes to it: connections, tables that must be there, numbers that must be free."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class

from cli.migrate.limits import QUERY as LIMITS_QUERY
from cli.migrate.limits import Limits
from shared.errors import BatonError, UnreachableError
from shared.settings import libpq_url

LOCK = 0x4261746F6E10  # "Baton" and a number; the promoter has the small ones
LOCK_S = 15.0  # PostgreSQL may need a moment to notice that a killed migration is gone
READY = (
    "SELECT count(*) = 3 FROM pg_attribute WHERE attname = 'workspace' AND attrelid IN (to_regclass('experiments'), \
to_regclass('registered_models'), to_regclass('registered_model_aliases'))"
)
# MLflow gives the next number of this sequence to the next experiment; somebody else's tool may have left it behind.
ADVANCE = """
    SELECT setval(pg_get_serial_sequence('experiments', 'experiment_id'),
        greatest((SELECT max(experiment_id) FROM experiments), 1),
        (SELECT count(*) > 0 FROM experiments WHERE experiment_id > 0))
    FROM (SELECT last_value FROM pg_sequences
        WHERE format('%I.%I', schemaname, sequencename)::regclass =
            pg_get_serial_sequence('experiments', 'experiment_id')::regclass) AS s
    WHERE coalesce(s.last_value, 0) < (SELECT max(experiment_id) FROM experiments)
"""


class TargetError(BatonError):
    """The target database cannot take a migration as it is."""


def connect(url: str) -> Connection:
    """Open a connection whose writes the capture lets pass unseen."""
    try:
        connection = psycopg2.connect(libpq_url(url), connect_timeout=10, application_name="baton migrate")
    except psycopg2.OperationalError as error:
        raise UnreachableError(f"PostgreSQL does not answer: {str(error).strip()}") from error
    with connection, connection.cursor() as cursor:
        cursor.execute("SET baton.capture = 'off'")
        # Rows and the note that they are done are of one transaction; only the last one must be on disk before we end.
        cursor.execute("SET synchronous_commit = off")
    return connection


def is_lost(error: psycopg2.Error) -> bool:
    """Tell whether an error means that the server is gone, or about to go."""
    if error.pgcode:
        return error.pgcode.startswith(("08", "57P"))
    lost = psycopg2.InterfaceError, psycopg2.OperationalError
    return isinstance(error, lost) or type(error) is psycopg2.DatabaseError


@contextmanager
def transaction(connection: Connection) -> Iterator[Cursor]:
    """Run statements as one transaction."""
    with connection, connection.cursor() as cursor:
        yield cursor


def is_initialised(cursor: Cursor) -> bool:
    """Tell whether MLflow has made its tables."""
    cursor.execute(READY)
    return bool(one(cursor)[0])


def is_outdated(cursor: Cursor) -> bool:
    """Tell whether MLflow has made tables that lack what a migration writes."""
    cursor.execute("SELECT to_regclass('experiments') IS NOT NULL")
    return bool(one(cursor)[0]) and not is_initialised(cursor)


def take_lock(connection: Connection) -> None:
    """Be the only migration into this database, for as long as the connection lives."""
    ends = time.monotonic() + LOCK_S
    while True:
        with transaction(connection) as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,))
            if one(cursor)[0]:
                return
        if time.monotonic() > ends:
            raise TargetError("another migration writes to this database: wait for it, or end it")
        time.sleep(0.2)


def read_limits(cursor: Cursor) -> Limits:
    """Return how much each column holds."""
    cursor.execute(LIMITS_QUERY)
    return Limits({(table, column): limit for table, column, limit in cursor.fetchall()})


def advance_sequence(cursor: Cursor) -> None:
    """Put the sequence of experiment ids past the ids that are taken."""
    cursor.execute(ADVANCE)


def next_experiment_id(cursor: Cursor) -> int:
    """Return an experiment id that nobody has or will have."""
    cursor.execute("SELECT nextval(pg_get_serial_sequence('experiments', 'experiment_id'))")
    return int(one(cursor)[0])


def default_location(cursor: Cursor) -> str | None:
    """Return where MLflow keeps the artifacts of its experiment 0, None if there is no such experiment."""
    cursor.execute("SELECT artifact_location FROM experiments WHERE experiment_id = 0")
    row = cursor.fetchone()
    return row[0] if row else None


def one(cursor: Cursor) -> tuple[Any, ...]:
    """Return the one row of an answer."""
    row = cursor.fetchone()
    if row is None:
        raise TargetError("PostgreSQL answered with no row where one was due")
    return row
