"""The witness: a trigger of the test's own that writes down every change of an alias `champion` that is committed.

It knows nothing of Baton's capture. A row-level trigger runs while the alias' row is locked, and the lock is kept until
commit: so the order of the witness' rows is, for each model, the order of the commits.
"""

from contextlib import closing
from typing import Any

import psycopg2
from psycopg2.extras import RealDictCursor

INSTALL = """
    DROP SCHEMA IF EXISTS witness CASCADE;
    CREATE SCHEMA witness;
    CREATE TABLE witness.champions (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        transaction bigint NOT NULL DEFAULT txid_current(),
        model text NOT NULL,
        version text
    );
    CREATE FUNCTION witness.saw() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        IF TG_OP <> 'INSERT' AND OLD.alias = 'champion' AND (TG_OP = 'DELETE' OR OLD.name <> NEW.name) THEN
            INSERT INTO witness.champions (model, version) VALUES (OLD.name, NULL);
        END IF;
        IF TG_OP <> 'DELETE' AND NEW.alias = 'champion' THEN
            INSERT INTO witness.champions (model, version) VALUES (NEW.name, NEW.version::text);
        END IF;
        RETURN NULL;
    END
    $$;
    CREATE TRIGGER witness AFTER INSERT OR UPDATE OR DELETE ON registered_model_aliases
        FOR EACH ROW EXECUTE FUNCTION witness.saw();
"""


def install(database: str) -> None:
    """Let the witness see what happens from now on."""
    _execute(database, INSTALL)


def remove(database: str) -> None:
    """Send the witness away, with all that it saw."""
    _execute(database, "DROP SCHEMA IF EXISTS witness CASCADE")  # the trigger goes with its function


def rows(database: str, query: str, *values: object) -> list[dict[str, Any]]:
    """Read from the database."""
    with (
        closing(psycopg2.connect(database, connect_timeout=5)) as connection,
        connection.cursor(cursor_factory=RealDictCursor) as cursor,
    ):
        cursor.execute(query, values or None)
        return [dict(row) for row in cursor.fetchall()]


def _execute(database: str, statement: str) -> None:
    with closing(psycopg2.connect(database)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
