"""The outbox: every change of a champion, as the capture wrote it, and whether the bus knows of it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2.extras import RealDictCursor

from services.promoter.database import Database

# A statement that repairs both ways in which alias and ledger can differ: a capture that failed, or was not installed.
OUT_OF_STEP = """
    SELECT coalesce(a.name, m.model) AS model FROM baton.models m
    FULL JOIN (SELECT name, version::text FROM registered_model_aliases
               WHERE workspace = 'default' AND alias = 'champion') a ON a.name = m.model
    WHERE a.version IS DISTINCT FROM m.champion
"""

# Rows that somebody else holds are skipped and mirrored a moment later: waiting for them, after MLflow's own order of
# locks, is how alias and stage deadlock. The triggers ignore the transaction, so that nothing is mirrored back.
MIRROR_STAGES = """
    WITH out_of_step AS (
        SELECT v.name, v.version, v.version = a.version AS is_champion
        FROM model_versions v JOIN registered_model_aliases a
            ON a.workspace = v.workspace AND a.name = v.name AND a.alias = 'champion'
        WHERE v.workspace = 'default' AND (v.version = a.version) <> (v.current_stage = 'Production')
            AND v.current_stage <> 'Deleted_Internal'
        FOR UPDATE OF v SKIP LOCKED
    )
    UPDATE model_versions v SET
        current_stage = CASE WHEN o.is_champion THEN 'Production' ELSE 'Archived' END,
        last_updated_time = (extract(epoch FROM clock_timestamp()) * 1000)::bigint
    FROM out_of_step o WHERE v.workspace = 'default' AND v.name = o.name AND v.version = o.version
"""


@dataclass(frozen=True)
class Change:
    """A row of the outbox: one change of a champion."""

    model: str
    generation: int
    kind: str
    version: str | None
    run_id: str | None
    bundle: str | None
    previous: str | None
    actor: str
    reason: str
    decision: str | None
    committed_at: datetime
    ledger: str


class Outbox:
    """Queries on captured changes; each is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending(self, busy: Collection[str]) -> list[Change]:
        """Return changes that are not published, in order per model, leaving out models that are busy."""
        query = """
            SELECT model, generation, kind, version, run_id, bundle, previous, actor, reason, decision, committed_at,
                (SELECT id::text FROM baton.ledger) AS ledger
            FROM baton.promotions WHERE published_at IS NULL AND NOT model = ANY(%s)
            ORDER BY model, generation LIMIT 1000
        """
        return [Change(**row) for row in await self._database.all(query, list(busy))]

    async def backlog(self) -> list[dict[str, Any]]:
        """Return the models with changes that are not published: how many, and since when the first one waits."""
        query = """
            SELECT model, count(*) AS changes, min(committed_at) AS since FROM baton.promotions
            WHERE published_at IS NULL GROUP BY model ORDER BY model
        """
        return await self._database.all(query)

    async def mark_published(self, model: str, generation: int) -> None:
        """Say that a change is on the bus."""
        query = "UPDATE baton.promotions SET published_at = clock_timestamp() WHERE model = %s AND generation = %s"
        await self._database.do(query, model, generation)

    async def fill_bundle(self, model: str, generation: int, bundle: str) -> None:
        """Write down the bundle that a change's version was given after the commit."""
        query = "UPDATE baton.promotions SET bundle = %s WHERE model = %s AND generation = %s"
        await self._database.do(query, bundle, model, generation)

    async def reconcile(self) -> list[str]:
        """Capture what the triggers could not; return the models that were out of step."""
        models = [row["model"] for row in await self._database.all(OUT_OF_STEP)]
        for model in models:  # one transaction each: never hold two models' locks
            await self._database.do("SELECT baton.capture(%s, 'alias champion found moved', false)", model)
        return models

    async def mirror_stages(self) -> None:
        """Put every champion in stage Production and archive every other version that is there."""

        def write(cursor: RealDictCursor) -> None:
            cursor.execute("SET LOCAL baton.capture = 'off'")
            cursor.execute(MIRROR_STAGES)

        await self._database.run(write)
