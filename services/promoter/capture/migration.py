"""Installing the ledger, and the capture in MLflow's database, once, however many promoters start."""

import asyncio
import hashlib
import time
from importlib.resources import files

from psycopg2.extras import RealDictCursor
from psycopg2.sql import SQL, Identifier

from services.promoter.capture.tables import COLUMNS, EXPECTED, differences
from services.promoter.ledger.database import Database
from shared.errors import TablesError
from shared.telemetry import logger

LEDGER, CAPTURE = files("services.promoter.ledger"), files("services.promoter.capture")
LOCK = 0x4261746F6E01  # "Baton" and a number: advisory locks share one space of keys per database
POLL_S, TELL_S = 0.25, 10.0
# Who waits for a lock makes everybody wait who comes later, so ask briefly and again. Shorter than PostgreSQL's
# deadlock_timeout (1 s): should a migration of MLflow's and this one wait for each other, this one gives way.
LOCK_TIMEOUT = "300ms"

# Read from the catalogue: a migration of MLflow's that rebuilds a table takes its triggers along.
TRIGGERS_IN_PLACE = """
    SELECT count(*) = 4 AS in_place FROM pg_trigger t
    WHERE t.tgenabled IN ('O', 'A') AND (t.tgname, t.tgrelid) IN (
        ('baton_alias', to_regclass('registered_model_aliases')),
        ('baton_stage', to_regclass('model_versions')),
        ('baton_request', to_regclass('model_version_tags')),
        ('baton_judge', to_regclass('baton.touched'))
    )
"""

log = logger(__name__)


async def migrate(database: Database, deadline_s: float = 120.0, *, with_triggers: bool = True) -> None:
    """Bring schema `baton` up to date, and the triggers on MLflow's tables once these are there.

    Raise `TablesError` naming what differs if MLflow's tables are not as expected by then; nothing is installed before.
    """
    if with_triggers:
        await _mlflow_tables(database, deadline_s)
    await database.run(lambda cursor: _install(cursor, with_triggers=with_triggers), deadline_s)


async def repair_triggers(database: Database) -> bool:
    """Install the triggers again if one is missing, and return whether one was.

    Raise `TablesError` if MLflow's tables are not as expected.
    """
    (row,) = await database.all(TRIGGERS_IN_PLACE)
    if row["in_place"]:
        return False
    await migrate(database, deadline_s=0)
    return True


async def _mlflow_tables(database: Database, deadline_s: float) -> None:
    """Wait for MLflow: its first migration creates tables early and their column `workspace` last."""
    ends = time.monotonic() + deadline_s
    tell_at = 0.0
    while faults := differences(await database.all(COLUMNS, list(EXPECTED))):
        if time.monotonic() >= ends:
            raise TablesError(
                f"MLflow's tables are not as the capture reads them: {'; '.join(faults)}. Start `mlflow server` "
                "(3.17 or newer) on BATON_DATABASE_URL and run `mlflow db upgrade`, or set BATON_CAPTURE=poll"
            )
        if time.monotonic() >= tell_at:
            log.info("waiting for MLflow's tables", missing=faults)
            tell_at = time.monotonic() + TELL_S
        await asyncio.sleep(POLL_S)


def _install(cursor: RealDictCursor, *, with_triggers: bool) -> None:
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    cursor.execute("SELECT set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,))
    cursor.execute("CREATE SCHEMA IF NOT EXISTS baton")
    cursor.execute("CREATE TABLE IF NOT EXISTS baton.schema_version (version integer NOT NULL)")
    known = _one(cursor, "SELECT version FROM baton.schema_version")
    if not known:
        cursor.execute("INSERT INTO baton.schema_version VALUES (0)")
    for script in scripts()[int(str(known.get("version", 0))) :]:
        cursor.execute(script)
    cursor.execute("UPDATE baton.schema_version SET version = %s", (len(scripts()),))
    _install_functions(cursor, with_triggers=with_triggers)


def _install_functions(cursor: RealDictCursor, *, with_triggers: bool) -> None:
    sources = [LEDGER / "recording.sql"] + ([CAPTURE / "capture.sql"] if with_triggers else [])
    texts = [source.read_text(encoding="utf-8") for source in sources]
    digest = hashlib.sha256("".join(texts).encode()).hexdigest()
    is_known = _one(cursor, "SELECT capture FROM baton.schema_version")["capture"] == digest
    if is_known and (not with_triggers or _one(cursor, TRIGGERS_IN_PLACE)["in_place"]):
        return
    if with_triggers:
        _use_mlflow_schema(cursor)
    for text in texts:
        cursor.execute(text)
    cursor.execute("UPDATE baton.schema_version SET capture = %s", (digest,))
    log.info("capture installed", with_triggers=with_triggers, digest=digest[:12])


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
    found = [file for file in (LEDGER / "schema").iterdir() if file.name.endswith(".sql")]
    return [file.read_text(encoding="utf-8") for file in sorted(found, key=lambda file: file.name)]
