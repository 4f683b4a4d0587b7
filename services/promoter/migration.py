"""Installing the ledger and the capture in MLflow's database, once, however many promoters start."""

import asyncio
from importlib.resources import files

from psycopg2.extras import RealDictCursor
from psycopg2.sql import SQL, Identifier

from services.promoter.database import Database
from shared.errors import UnreachableError

PACKAGE = "services.promoter"
CAPTURE = 2  # grows with every change of capture.sql
LOCK = 0x4261746F6E01  # "Baton" and a number: advisory locks share one space of keys per database

# MLflow's first migration creates these tables early and their column `workspace` last.
MLFLOW_IS_READY = """
    SELECT count(*) = 3 AS ready FROM pg_attribute WHERE attname = 'workspace' AND NOT attisdropped AND attrelid IN (
        to_regclass('registered_model_aliases'), to_regclass('model_versions'), to_regclass('model_version_tags')
    )
"""
# Read from the catalogue on every start: a migration of MLflow's that rebuilds a table takes its triggers along.
CAPTURE_IS_INSTALLED = """
    SELECT count(*) = 3 AS installed FROM pg_trigger t
    WHERE t.tgenabled <> 'D' AND (t.tgname, t.tgrelid) IN (
        ('baton_alias_changed', to_regclass('registered_model_aliases')),
        ('baton_stage_changed', to_regclass('model_versions')),
        ('baton_request_tagged', to_regclass('model_version_tags'))
    )
"""


async def migrate(database: Database, deadline_s: float = 120.0) -> None:
    """Bring schema `baton` and the triggers up to date, waiting for MLflow to create its own tables first."""
    try:
        async with asyncio.timeout(deadline_s):
            await _mlflow_tables(database)
    except TimeoutError as error:
        raise UnreachableError(
            f"MLflow's tables did not appear in the database within {deadline_s:.0f} s: "
            "start `mlflow server` (3.17 or newer) on BATON_DATABASE_URL"
        ) from error
    await database.run(_install)


async def _mlflow_tables(database: Database) -> None:
    while True:
        if await database.run(_ready):
            return
        await asyncio.sleep(0.25)


def _ready(cursor: RealDictCursor) -> bool:
    return bool(_one(cursor, MLFLOW_IS_READY)["ready"])


def _install(cursor: RealDictCursor) -> None:
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    cursor.execute("SET LOCAL lock_timeout = '3s'")  # never stand long in the queue before MLflow's tables
    cursor.execute("CREATE SCHEMA IF NOT EXISTS baton")
    cursor.execute("CREATE TABLE IF NOT EXISTS baton.schema_version (version integer NOT NULL)")
    cursor.execute("ALTER TABLE baton.schema_version ADD COLUMN IF NOT EXISTS capture integer NOT NULL DEFAULT 0")
    known = _one(cursor, "SELECT version, capture FROM baton.schema_version")
    if not known:
        cursor.execute("INSERT INTO baton.schema_version VALUES (0)")
    for script in scripts()[int(str(known.get("version", 0))) :]:
        cursor.execute(script)
    cursor.execute("UPDATE baton.schema_version SET version = %s", (len(scripts()),))
    if known.get("capture") != CAPTURE or not _one(cursor, CAPTURE_IS_INSTALLED)["installed"]:
        _use_mlflow_schema(cursor)
        cursor.execute(files(PACKAGE).joinpath("capture.sql").read_text(encoding="utf-8"))
        cursor.execute("UPDATE baton.schema_version SET capture = %s", (CAPTURE,))


def _use_mlflow_schema(cursor: RealDictCursor) -> None:
    where = _one(
        cursor,
        """
        SELECT relnamespace::regnamespace::text AS schema, current_schema() AS current, current_database() AS database
        FROM pg_class WHERE oid = to_regclass('registered_model_aliases')
        """,
    )
    if where["current"] == "baton":
        # The role is called baton too, so `"$user"` in its search path would put MLflow's next tables among ours.
        setting = f"ALTER ROLE CURRENT_USER IN DATABASE {{}} SET search_path = {where['schema']}"
        cursor.execute(SQL(setting).format(Identifier(str(where["database"]))))
    cursor.execute("SELECT set_config('search_path', %s, true)", (f"{where['schema']}, pg_temp",))


def _one(cursor: RealDictCursor, query: str) -> dict[str, object]:
    cursor.execute(query)
    row = cursor.fetchone()
    return dict(row) if row else {}


def scripts() -> list[str]:
    """Return the scripts that make the schema, in order; the schema's version is the number of those that were run."""
    found = [file for file in files(PACKAGE).joinpath("schema").iterdir() if file.name.endswith(".sql")]
    return [file.read_text(encoding="utf-8") for file in sorted(found, key=lambda file: file.name)]
