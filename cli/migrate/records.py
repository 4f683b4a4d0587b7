"""What has been migrated already: schema `baton_migrate` in the target, written by the transactions that migrate."""

from collections.abc import Iterable

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class
from psycopg2.extras import execute_values

from cli.migrate.findings import Action, Finding, Findings

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


def exists(cursor: Cursor) -> bool:
    """Tell whether something was ever migrated into this database."""
    cursor.execute("SELECT to_regclass('baton_migrate.items') IS NOT NULL")
    return bool((cursor.fetchone() or (False,))[0])


def create(cursor: Cursor) -> None:
    """Create the schema; safe to run again."""
    cursor.execute(SCHEMA)


def claim(cursor: Cursor, source: str, kind: str, keys: Iterable[str]) -> set[str]:
    """Take items on and return those that nobody had; waits for a transaction that is about to take one."""
    rows = [(source, kind, key) for key in sorted(keys)]
    if not rows:
        return set()
    query = "INSERT INTO baton_migrate.items (source, kind, key) VALUES %s ON CONFLICT DO NOTHING RETURNING key"
    return {key for (key,) in execute_values(cursor, query, rows, page_size=5000, fetch=True)}


def forget(cursor: Cursor, source: str, kind: str, keys: Iterable[str]) -> None:
    """Give back items that were claimed and not migrated."""
    query = "DELETE FROM baton_migrate.items WHERE source = %s AND kind = %s AND key = ANY(%s)"
    cursor.execute(query, (source, kind, list(keys)))


def finish(cursor: Cursor, source: str, kind: str, items: list[tuple[str, str, str]]) -> None:
    """Note what claimed items (key, target, digest) became; the digest is of artifacts, or what tells its origin."""
    query = """
        UPDATE baton_migrate.items AS i SET target = new.target, digest = new.digest
        FROM (VALUES %s) AS new (source, kind, key, target, digest)
        WHERE (i.source, i.kind, i.key) = (new.source, new.kind, new.key)
    """
    if items:
        execute_values(cursor, query, [(source, kind, *item) for item in items], page_size=5000)


def done(cursor: Cursor, source: str, kind: str) -> dict[str, str]:
    """Return the items of a kind that are migrated, each with what it became."""
    cursor.execute("SELECT key, target FROM baton_migrate.items WHERE source = %s AND kind = %s", (source, kind))
    return dict(cursor.fetchall())


def digests(cursor: Cursor, source: str, kind: str) -> dict[str, str]:
    """Return of each migrated item of a kind the digest of its artifacts, or its origin."""
    cursor.execute("SELECT key, digest FROM baton_migrate.items WHERE source = %s AND kind = %s", (source, kind))
    return dict(cursor.fetchall())


def keep(cursor: Cursor, source: str, findings: Findings) -> None:
    """Keep findings, each once, so that the report after a resumed migration names all."""
    rows = [(source, item.path, item.kind, item.action, item.reason) for item in findings.items]
    query = "INSERT INTO baton_migrate.findings (source, path, kind, action, reason) VALUES %s ON CONFLICT DO NOTHING"
    if rows:
        execute_values(cursor, query, rows, page_size=1000)


def kept(cursor: Cursor, source: str) -> list[Finding]:
    """Return all findings of a source, by path."""
    cursor.execute(
        "SELECT path, kind, action, reason FROM baton_migrate.findings WHERE source = %s ORDER BY path, reason",
        (source,),
    )
    return [Finding(path, kind, Action(action), reason) for path, kind, action, reason in cursor.fetchall()]


def target_of(cursor: Cursor, source: str, kind: str, key: str) -> str | None:
    """Return what an item became, None if it was not migrated."""
    cursor.execute(
        "SELECT target FROM baton_migrate.items WHERE source = %s AND kind = %s AND key = %s", (source, kind, key)
    )
    row = cursor.fetchone()
    return row[0] if row else None


def forget_faults(cursor: Cursor, source: str) -> None:
    """Drop what an earlier attempt left behind, except below what is done: this one looks at all else again."""
    cursor.execute(
        """
        DELETE FROM baton_migrate.findings f WHERE source = %s AND action IN ('quarantined', 'skipped')
            AND NOT EXISTS (SELECT 1 FROM baton_migrate.items i WHERE i.source = f.source
                AND (i.kind IN ('run', 'logged model') AND i.key = ANY (string_to_array(f.path, '/'))
                    OR i.kind = 'model version' AND starts_with(f.path, i.key || '/')))
        """,
        (source,),
    )
