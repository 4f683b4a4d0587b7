"""What has been migrated already: schema `baton_migrate` in the target, written by the transactions that migrate."""

from collections.abc import Iterable

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class
from psycopg2.extras import execute_values

from cli.migrate.findings import Action, Finding, Findings

EXPERIMENT, RUN, LOGGED_MODEL, MODEL = "experiment", "run", "logged model", "registered model"
VERSION, ALIAS, CHAMPIONS = "model version", "alias", "champion"
SCHEMA = """
    CREATE SCHEMA IF NOT EXISTS baton_migrate;
    CREATE TABLE IF NOT EXISTS baton_migrate.items (
        source text NOT NULL,
        kind text NOT NULL,
        key text NOT NULL,
        target text NOT NULL DEFAULT '',
        digest text NOT NULL DEFAULT '',
        PRIMARY KEY (source, kind, key)
    );
    CREATE TABLE IF NOT EXISTS baton_migrate.findings (
        source text NOT NULL,
        path text NOT NULL,
        kind text NOT NULL,
        action text NOT NULL,
        reason text NOT NULL
    );
    CREATE UNIQUE INDEX IF NOT EXISTS each_finding_once
        ON baton_migrate.findings (source, md5(path || chr(1) || kind || chr(1) || reason));
"""
# What an earlier attempt left behind, except below what is done: another one looks at all of that again.
FAULTS = """
    f.source = %s AND f.action IN ('quarantined', 'skipped')
        AND NOT EXISTS (SELECT 1 FROM baton_migrate.items i WHERE i.source = f.source
            AND (i.kind IN ('run', 'logged model') AND i.key = ANY (string_to_array(f.path, '/'))
                OR i.kind = 'model version' AND starts_with(f.path, i.key || '/')))
"""
FOUND = "SELECT path, kind, action, reason FROM baton_migrate.findings f WHERE f.source = %s"
ORDER = " ORDER BY f.path, f.reason"


def exists(cursor: Cursor) -> bool:
    """Tell whether something was ever migrated into this database."""
    cursor.execute("SELECT to_regclass('baton_migrate.items') IS NOT NULL")
    return bool((cursor.fetchone() or (False,))[0])


def create(cursor: Cursor) -> None:
    """Create the schema; safe to run again."""
    cursor.execute(SCHEMA)


class Records:
    """What the target remembers of one source, read and written in a transaction of its owner's."""

    def __init__(self, cursor: Cursor, source: str) -> None:
        self._cursor, self._source = cursor, source

    def claim(self, kind: str, keys: Iterable[str]) -> set[str]:
        """Take items on and return those that nobody had; waits for a transaction that is about to take one."""
        rows = [(self._source, kind, key) for key in sorted(keys)]
        if not rows:
            return set()
        query = "INSERT INTO baton_migrate.items (source, kind, key) VALUES %s ON CONFLICT DO NOTHING RETURNING key"
        return {key for (key,) in execute_values(self._cursor, query, rows, page_size=5000, fetch=True)}

    def forget(self, kind: str, keys: Iterable[str]) -> None:
        """Give back items that were claimed and not migrated."""
        query = "DELETE FROM baton_migrate.items WHERE source = %s AND kind = %s AND key = ANY(%s)"
        self._cursor.execute(query, (self._source, kind, list(keys)))

    def finish(self, kind: str, items: list[tuple[str, str, str]]) -> None:
        """Note what claimed items (key, target, digest) became; the digest is of artifacts, or tells the origin."""
        query = """
            UPDATE baton_migrate.items AS i SET target = new.target, digest = new.digest
            FROM (VALUES %s) AS new (source, kind, key, target, digest)
            WHERE (i.source, i.kind, i.key) = (new.source, new.kind, new.key)
        """
        if items:
            execute_values(self._cursor, query, [(self._source, kind, *item) for item in items], page_size=5000)

    def done(self, kind: str) -> dict[str, str]:
        """Return the items of a kind that are migrated, each with what it became."""
        self._cursor.execute(
            "SELECT key, target FROM baton_migrate.items WHERE source = %s AND kind = %s", (self._source, kind)
        )
        return dict(self._cursor.fetchall())

    def digests(self, kind: str) -> dict[str, str]:
        """Return of each migrated item of a kind the digest of its artifacts, or its origin."""
        self._cursor.execute(
            "SELECT key, digest FROM baton_migrate.items WHERE source = %s AND kind = %s", (self._source, kind)
        )
        return dict(self._cursor.fetchall())

    def target_of(self, kind: str, key: str) -> str | None:
        """Return what an item became, None if it was not migrated."""
        query = "SELECT target FROM baton_migrate.items WHERE source = %s AND kind = %s AND key = %s"
        self._cursor.execute(query, (self._source, kind, key))
        row = self._cursor.fetchone()
        return row[0] if row else None

    def keep(self, findings: Findings) -> None:
        """Keep findings, each once, so that the report after a resumed migration names all."""
        rows = [(self._source, item.path, item.kind, item.action, item.reason) for item in findings.items]
        query = (
            "INSERT INTO baton_migrate.findings (source, path, kind, action, reason) VALUES %s ON CONFLICT DO NOTHING"
        )
        if rows:
            execute_values(self._cursor, query, rows, page_size=1000)

    def kept(self) -> list[Finding]:
        """Return all findings, by path."""
        return self._findings(FOUND + ORDER)

    def forget_faults(self) -> None:
        """Drop what an earlier attempt left behind and this one looks at again."""
        forget = "DELETE FROM baton_migrate.findings f WHERE " + FAULTS  # nosec B608 # noqa: S608 - text of ours
        self._cursor.execute(forget, (self._source,))

    def lasting(self) -> list[Finding]:
        """Return the findings that `forget_faults` would keep."""
        return self._findings(FOUND + " AND NOT (" + FAULTS + ")" + ORDER, self._source)

    def _findings(self, query: str, *values: object) -> list[Finding]:
        self._cursor.execute(query, (self._source, *values))
        return [Finding(path, kind, Action(action), reason) for path, kind, action, reason in self._cursor.fetchall()]
