"""What the capture costs an MLflow write: `set_registered_model_alias` with and without its trigger, side by side.

Blocks of both alternate in one run, so that a busy machine troubles both alike. Prints medians in milliseconds, their
difference and their ratio: over MLflow's REST API, and as the bare statement, where nothing else hides the trigger; for
that also the processor time that PostgreSQL spends on it, which no other load on the machine adds to (Linux only).
"""

import asyncio
import json
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg2
import psycopg2.extensions
from mlflow import MlflowClient

from services.promoter.capture.migration import migrate
from services.promoter.ledger.database import Database
from tests.servers import mlflow_server, postgres_server

BLOCKS, MOVES, WARM_UP = 12, 40, 20
STATEMENT = (
    "UPDATE registered_model_aliases SET version = %s WHERE workspace = 'default' AND name = %s AND alias = 'champion'"
)


def main() -> None:
    """Start PostgreSQL and MLflow, measure, print one JSON object."""
    with (
        tempfile.TemporaryDirectory(prefix="baton-bench-") as name,
        postgres_server(Path(name)) as database,
        mlflow_server(Path(name), database) as mlflow,
        closing(Database(database)) as ledger,
        closing(psycopg2.connect(database)) as connection,
    ):
        asyncio.run(migrate(ledger))
        connection.autocommit = True
        print(json.dumps(measure(mlflow, connection), indent=2))


def measure(mlflow: str, connection: psycopg2.extensions.connection) -> dict[str, dict[str, float]]:
    """Return medians of one write, with the trigger and without, for each way to write."""
    client, model = MlflowClient(mlflow, mlflow), f"bench {uuid.uuid4()}"
    run = client.create_run(client.create_experiment(model))
    client.create_registered_model(model)
    versions = [client.create_model_version(model, f"{run.info.artifact_uri}/m", run.info.run_id) for _ in range(2)]
    both = [version.version for version in versions]
    client.set_registered_model_alias(model, "champion", both[0])

    def over_rest(version: str) -> None:
        client.set_registered_model_alias(model, "champion", version)

    def in_sql(version: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(STATEMENT, (version, model))

    measured = {
        "mlflow_rest_ms": compare(connection, lambda step: over_rest(both[step % 2])),
        "sql_ms": compare(connection, lambda step: in_sql(both[step % 2])),
    }
    if Path("/proc/self/schedstat").exists():
        processor = processor_time(connection)
        measured["sql_processor_ms"] = compare(connection, lambda step: in_sql(both[step % 2]), processor)
    return measured


def processor_time(connection: psycopg2.extensions.connection) -> Callable[[], float]:
    """Return a clock of the processor time, in seconds, that the server's process of a connection has had."""
    schedule = Path(f"/proc/{connection.get_backend_pid()}/schedstat")
    return lambda: int(schedule.read_text().split()[0]) / 1e9


def compare(
    connection: psycopg2.extensions.connection,
    move: Callable[[int], None],
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Time a write in blocks, by turns with the trigger and without."""
    for step in range(WARM_UP):
        move(step)
    times: dict[bool, list[float]] = {True: [], False: []}
    for block in range(BLOCKS):
        captured = block % 2 == 0
        switch(connection, captured)
        for step in range(MOVES):
            began = clock()
            move(step)
            times[captured].append((clock() - began) * 1e3)
    switch(connection, captured=True)
    with_trigger, without = statistics.median(times[True]), statistics.median(times[False])
    return {
        "with_trigger": round(with_trigger, 3),
        "without": round(without, 3),
        "overhead": round(with_trigger - without, 3),
        "ratio": round(with_trigger / without, 3),
    }


def switch(connection: psycopg2.extensions.connection, captured: bool) -> None:
    """Turn the capture's trigger on the aliases on or off."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"ALTER TABLE registered_model_aliases {'ENABLE' if captured else 'DISABLE'} TRIGGER baton_alias"
        )


if __name__ == "__main__":
    main()
