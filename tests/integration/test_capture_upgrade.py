"""MLflow upgrades its database with the capture in place: it passes, and the capture works afterwards."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
from alembic import command
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base
from sqlalchemy import create_engine

from services.promoter.capture.migration import migrate, repair_triggers
from services.promoter.ledger.database import Connection, Database
from services.promoter.ledger.records import Records
from shared.errors import TablesError
from shared.settings import sqlalchemy_url

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow on SQLAlchemy 2.1

BEFORE_WORKSPACES, WORKSPACES = "c8d9e0f1a2b3", "1b5f0d9ad7c1"  # the second rebuilds the keys of every registry table
MODEL = "heart"


@pytest.fixture
def own_database(database_url: str) -> Iterator[str]:
    """A database beside the others on the same server, empty."""
    server = psycopg2.connect(database_url)
    server.autocommit = True
    with server.cursor() as cursor:
        cursor.execute("DROP DATABASE IF EXISTS upgraded WITH (FORCE)")
        cursor.execute("CREATE DATABASE upgraded")
    yield urlunsplit(urlsplit(database_url)._replace(path="/upgraded"))
    with server.cursor() as cursor:
        cursor.execute("DROP DATABASE upgraded WITH (FORCE)")
    server.close()


@pytest.fixture
async def database(own_database: str) -> AsyncIterator[Database]:
    opened = Database(own_database, threads=1)
    yield opened
    opened.close()


@pytest.fixture
def connection(own_database: str) -> Iterator[Connection]:
    opened = psycopg2.connect(own_database)
    opened.autocommit = True
    yield opened
    opened.close()


def bring_to(url: str, revision: str) -> None:
    """Migrate MLflow's schema up to a revision with MLflow's own migrations."""
    engine = create_engine(sqlalchemy_url(url))
    Base.metadata.create_all(engine)
    with engine.begin() as opened:
        config = _get_alembic_config(sqlalchemy_url(url))
        config.attributes["connection"] = opened
        command.upgrade(config, revision)
    engine.dispose()


def take_back_to(url: str, revision: str) -> None:
    command.downgrade(_get_alembic_config(sqlalchemy_url(url)), revision)


def mlflow_db_upgrade(url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "db", "upgrade", sqlalchemy_url(url)],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def execute(connection: Connection, *statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def move_alias(connection: Connection, version: int) -> None:
    execute(connection, f"UPDATE registered_model_aliases SET version = {version} WHERE alias = 'champion'")


def register(connection: Connection) -> None:
    execute(
        connection,
        f"INSERT INTO registered_models (name) VALUES ('{MODEL}')",
        "INSERT INTO model_versions (name, version, current_stage)"
        f" SELECT '{MODEL}', version, 'None' FROM generate_series(1, 2) AS version",
        f"INSERT INTO registered_model_aliases (name, alias, version) VALUES ('{MODEL}', 'champion', 1)",
    )


async def champions(database: Database) -> list[str]:
    return [row["version"] for row in await Records(database).history(MODEL, 100)][::-1]


async def test_mlflow_s_own_upgrade_passes_and_the_capture_works_afterwards(
    own_database: str, database: Database, connection: Connection
) -> None:
    await asyncio.to_thread(bring_to, own_database, WORKSPACES)
    await migrate(database)
    register(connection)
    await asyncio.to_thread(mlflow_db_upgrade, own_database)
    assert not await repair_triggers(database), "the upgrade left the triggers where they were"
    move_alias(connection, 2)
    assert await champions(database) == ["1", "2"]

    # Further back and up again, across the revision that gave every registry table new keys.
    await asyncio.to_thread(take_back_to, own_database, BEFORE_WORKSPACES)
    with pytest.raises(TablesError, match="registered_model_aliases has no column workspace") as refused:
        await migrate(database, deadline_s=0)
    assert "model_version_tags has no column workspace" in str(refused.value)
    move_alias(connection, 1)  # nobody can capture it, and it does not fail
    await asyncio.to_thread(bring_to, own_database, "head")
    await migrate(database)
    move_alias(connection, 2)
    move_alias(connection, 1)
    assert await champions(database) == ["1", "2", "1"]


async def test_a_table_that_a_migration_rebuilt_gets_its_triggers_again(
    own_database: str, database: Database, connection: Connection
) -> None:
    await asyncio.to_thread(bring_to, own_database, WORKSPACES)
    await migrate(database)
    register(connection)
    execute(
        connection,
        "CREATE TABLE rebuilt (LIKE registered_model_aliases INCLUDING ALL)",
        "INSERT INTO rebuilt SELECT * FROM registered_model_aliases",
        "DROP TABLE registered_model_aliases",
        "ALTER TABLE rebuilt RENAME TO registered_model_aliases",
    )
    assert await repair_triggers(database)
    move_alias(connection, 2)
    assert await champions(database) == ["1", "2"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("ALTER TABLE registered_model_aliases DROP CONSTRAINT registered_model_alias_pk, DROP COLUMN alias",
         "registered_model_aliases has no column alias"),
        ("ALTER TABLE model_versions ALTER version TYPE text", "model_versions.version is text, not an integer"),
        ("ALTER TABLE model_version_tags RENAME TO tags", "there is no table model_version_tags"),
    ],
)  # fmt: skip
async def test_tables_that_are_not_as_expected_are_named_and_nothing_is_installed(
    tables_only: None, database: Database, connection: Connection, change: str, fault: str
) -> None:
    execute(connection, change)
    with pytest.raises(TablesError) as refused:
        await migrate(database, deadline_s=0)
    assert str(refused.value).startswith(f"MLflow's tables are not as the capture reads them: {fault}. Start")
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regnamespace('baton')")
        assert cursor.fetchone() == (None,)


async def test_installing_gives_way_to_who_uses_mlflow(
    tables_only: None, own_database: str, database: Database, connection: Connection
) -> None:
    writer = psycopg2.connect(own_database)
    with writer.cursor() as cursor:
        cursor.execute("DELETE FROM registered_model_aliases")  # and its transaction stays open
        installing = asyncio.create_task(migrate(database))
        async with asyncio.timeout(20):
            while not await asyncio.to_thread(is_waiting_for_a_lock, connection):
                assert not installing.done()
                await asyncio.sleep(0.01)
        # Another writer stands in the queue behind the installation, and gets its turn first.
        await asyncio.to_thread(execute, connection, "DELETE FROM registered_model_aliases")
        assert not installing.done()
    writer.close()
    await installing
    assert not await repair_triggers(database)


def is_waiting_for_a_lock(connection: Connection) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND mode = 'ShareRowExclusiveLock')")
        return bool(cursor.fetchone() == (True,))


@pytest.fixture
def tables_only(connection: Connection) -> None:
    """The tables that the capture reads, as MLflow has them, and no others: quicker than MLflow's migrations."""
    workspace = "workspace varchar(63) NOT NULL DEFAULT 'default', name varchar(256)"
    execute(
        connection,
        f"CREATE TABLE registered_model_aliases ({workspace}, alias varchar(256), version integer,"
        " CONSTRAINT registered_model_alias_pk PRIMARY KEY (workspace, name, alias))",
        f"CREATE TABLE model_versions ({workspace}, version integer, current_stage varchar(20), run_id varchar(32),"
        " last_updated_time bigint)",
        f"CREATE TABLE model_version_tags ({workspace}, version integer, key varchar(250), value text)",
    )
