"""The database's part: MLflow's registry and runs, and Baton's ledger, by PostgreSQL's own dump and restore."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from compose.local.postgres import programs
from shared.errors import BatonError, StackError, UnreachableError
from shared.settings import libpq_url

OCCUPIED = """
    SELECT (SELECT count(*) FROM registered_models) AS models, (SELECT count(*) FROM runs) AS runs
"""
PORTABLE = ("--if-exists", "--no-owner", "--no-privileges")  # roles are the stack's own
SNAPSHOT = "SELECT pg_export_snapshot()"
CHAMPIONS = "SELECT model, champion FROM baton.models WHERE champion IS NOT NULL ORDER BY model"
# As cleanup has it: what a version names that is not deleted, or what a champion's change names.
BUNDLES = """
    SELECT value FROM model_version_tags JOIN model_versions USING (name, version)
    WHERE key = 'baton.bundle' AND current_stage IS DISTINCT FROM 'Deleted_Internal'
    UNION SELECT p.bundle FROM baton.promotions p JOIN baton.models m USING (model, generation)
    WHERE p.bundle IS NOT NULL AND m.champion IS NOT NULL
"""
# Whoever restores, MLflow's tables belong to whom the database does.
OWN = """
    DO $$
    DECLARE
        relation regclass;
        owner name := (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database());
    BEGIN
        FOR relation IN
            SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        LOOP
            EXECUTE format('ALTER TABLE %s OWNER TO %I', relation, owner);
        END LOOP;
    END $$;
"""
# Generations count anew from here: what a predictor heard before the restore is of another ledger. Each model's last
# change is published again under it; older ones are history. Intents and turns belonged to promoters of before.
RENEW = """
    UPDATE baton.ledger SET id = gen_random_uuid();
    UPDATE baton.promotions p SET published_at = CASE
        WHEN generation = (SELECT max(generation) FROM baton.promotions l WHERE l.model = p.model) THEN NULL
        ELSE coalesce(published_at, clock_timestamp())
    END;
    UPDATE baton.intents SET state = 'closed' WHERE state = 'open';
    DELETE FROM baton.turns;
    NOTIFY baton_promotions;
"""


@dataclass(frozen=True)
class Snapshot:
    """The database at one instant: its name for PostgreSQL, each model's champion, the tags that name bundles."""

    name: str
    champions: dict[str, str]
    bundles: list[str]

    def has_bundle(self, name: str) -> bool:
        """Say whether a version or a champion needs the bundle that is stored under a name."""
        return any(name in tag for tag in self.bundles)  # anybody may write tags: not each of them is a bundle's


@dataclass(frozen=True)
class Database:
    """The database of a stack, by its libpq URL."""

    url: str

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Read what a backup has to know of the database; the same instant can be dumped until the block ends."""
        with closing(self._connect()) as connection, connection.cursor() as cursor:
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
            ((name,),) = _asked(cursor, SNAPSHOT)
            yield Snapshot(name, dict(_asked(cursor, CHAMPIONS)), [tag for (tag,) in _asked(cursor, BUNDLES)])

    def dump(self, path: Path, snapshot: Snapshot) -> None:
        """Write a dump in PostgreSQL's custom format, of a snapshot that is open."""
        self._run("pg_dump", "--format=custom", "--no-owner", f"--snapshot={snapshot.name}", f"--file={path}")

    def restore(self, path: Path) -> None:
        """Replace everything by a dump, in one transaction, and renew the ledger."""
        self._run("pg_restore", "--clean", *PORTABLE, "--single-transaction", str(path))
        self._execute(OWN + RENEW)

    def check_empty(self) -> None:
        """Raise `BatonError` if there is anything that a restore would replace."""
        with closing(self._connect()) as connection, connection.cursor() as cursor:
            ((models, runs),) = _asked(cursor, OCCUPIED)
        if models or runs:
            raise BatonError(
                f"the database holds {models} models and {runs} runs already: restore into an empty stack, "
                "such as `baton up --data-dir` with a new directory"
            )

    def _execute(self, statements: str) -> None:
        with closing(self._connect()) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statements)

    def _connect(self) -> Any:
        try:
            return psycopg2.connect(libpq_url(self.url), connect_timeout=5)
        except psycopg2.OperationalError as error:
            raise UnreachableError(f"PostgreSQL does not answer: {error}: see BATON_DATABASE_URL") from error

    def _run(self, program: str, *options: str) -> None:
        # The URL holds a password: as a variable nobody else sees it, among the arguments everybody would.
        parameters = psycopg2.extensions.parse_dsn(libpq_url(self.url))
        names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
        names["password"] = "PGPASSWORD"  # nosec B105 # noqa: S105 - the name of the variable that holds it
        environment = {names[key]: str(value) for key, value in parameters.items() if key in names}
        where = [f"--dbname={environment['PGDATABASE']}"] if program == "pg_restore" else []
        done = subprocess.run(
            [find_program(program), *options[:-1], *where, options[-1]],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BatonError(f"{program} failed: {done.stderr.strip()[-1000:]}")


def _asked(cursor: Any, query: str) -> list[tuple[Any, ...]]:
    try:
        cursor.execute(query)
    except psycopg2.errors.UndefinedTable as error:
        raise BatonError(
            f"the database is not MLflow's with Baton's ledger ({error.diag.message_primary}): see BATON_DATABASE_URL"
        ) from error
    return list(cursor.fetchall())


def find_program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs: that of the stack's own PostgreSQL, else the machine's."""
    try:
        own = programs() / name
        if own.exists():
            return str(own)
    except StackError:  # a PostgreSQL that somebody else runs may have its programs here
        pass
    found = shutil.which(name)
    if found is None:
        raise BatonError(
            f"{name} is not on this machine: install PostgreSQL's client programs, of the server's version"
        )
    return found
