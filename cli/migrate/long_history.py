"""Comparing a history that may be larger than memory: in the database, where the source's points go for a moment."""

import hashlib
from collections.abc import Iterable

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class

from cli.migrate.comparison import Many
from cli.migrate.findings import Findings
from cli.migrate.history import History
from cli.migrate.rows import Rows
from cli.migrate.target import transaction

POINTS = "SELECT DISTINCT timestamp, step, value, is_nan FROM {} WHERE run_uuid = %s AND key = %s ORDER BY 1, 2, 3, 4"


def both_sides(connection: Connection, run: str, key: str, history: History) -> tuple[Many, Many]:
    """Return number and digest of a metric's points in the source and in the target."""
    with transaction(connection) as cursor:
        cursor.execute("CREATE TEMP TABLE source_metrics (LIKE metrics) ON COMMIT DROP")
        rows = Rows(cursor)
        for piece in history.pieces(Findings()):
            for point in piece:
                rows.add("source_metrics", run, key, point.value, point.timestamp, point.step, point.is_nan)
        rows.flush()
        found = []
        for number, table in enumerate(("source_metrics", "metrics")):
            with connection.cursor(f"points_{number}") as points:
                points.execute(POINTS.format(table), (run, key))
                found.append(summary(points))
        return found[0], found[1]


def summary(points: Iterable[tuple[object, ...]]) -> Many:
    """Return how many points there are, and a digest over them in their order."""
    count, whole = 0, hashlib.sha256()
    for point in points:
        count += 1
        whole.update(f"{point}\n".encode())
    return Many(count, whole.hexdigest())
