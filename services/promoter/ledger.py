"""The ledger: what was decided, what is about to happen, and every change of a champion, in PostgreSQL."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2.extras import RealDictCursor

from services.promoter.database import Database
from shared.events import PromotionDecided

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

HISTORY = """
    SELECT p.model, p.generation, p.kind, p.version, p.run_id, p.previous, p.actor, p.reason, p.decision,
        p.committed_at, p.published_at, d.verdict, d.event -> 'rules' AS rules,
        d.event -> 'challenger_metrics' AS challenger_metrics, d.event -> 'champion_metrics' AS champion_metrics
    FROM baton.promotions p LEFT JOIN baton.decisions d ON d.id = p.decision
    WHERE p.model = %s ORDER BY p.generation DESC LIMIT %s
"""


@dataclass(frozen=True)
class Standing:
    """A model's champion (None: it has none) and the generation that made it so."""

    generation: int
    champion: str | None


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


@dataclass(frozen=True)
class Intent:
    """A promotion about to be carried out, if the model still stands where it was judged."""

    expected_generation: int
    actor: str
    reason: str


class Ledger:
    """Queries on the schema `baton`; each is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def standing(self, model: str) -> Standing:
        """Return who is champion of a model."""
        rows = await self._all("SELECT generation, champion FROM baton.models WHERE model = %s", model)
        return Standing(**rows[0]) if rows else Standing(0, None)

    async def previous(self, model: str) -> str | None:
        """Return the version that was champion before the last change."""
        query = "SELECT previous FROM baton.promotions WHERE model = %s ORDER BY generation DESC LIMIT 1"
        rows = await self._all(query, model)
        return rows[0]["previous"] if rows else None

    async def decision_on(self, source_event: str) -> PromotionDecided | None:
        """Return the decision that stands for an event."""
        query = "SELECT event FROM baton.decisions WHERE source_event = %s AND NOT superseded"
        rows = await self._all(query, source_event)
        return PromotionDecided.model_validate(rows[0]["event"]) if rows else None

    async def record(self, source_event: str, model: str, decided: PromotionDecided, intent: Intent | None) -> None:
        """Write a decision and its intent, unless a decision stands for the event already."""
        decision = (
            decided.decision, source_event, model, decided.version, decided.verdict, decided.reason,
            decided.model_dump_json(),
        )  # fmt: skip

        def write(cursor: RealDictCursor) -> None:
            cursor.execute(
                "INSERT INTO baton.decisions (id, source_event, model, version, verdict, reason, event)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                decision,
            )
            if cursor.rowcount and intent is not None:
                cursor.execute(
                    "INSERT INTO baton.intents (decision, model, version, expected_generation, actor, reason)"
                    " VALUES (%s, %s, %s, %s, %s, %s)",
                    (decided.decision, model, decided.version, intent.expected_generation, intent.actor, intent.reason),
                )

        await self._database.run(write)

    async def renew_intent(self, decision: str) -> bool:
        """Say that a decision is about to be carried out; return False if it was, or never will be."""
        renew = (
            "UPDATE baton.intents SET opened_at = clock_timestamp() WHERE decision = %s AND state = 'open' RETURNING 1"
        )
        return bool(await self._all(renew, decision))

    async def close_intent(self, decision: str) -> None:
        """Say that a decision needs nothing more."""
        await self._do("UPDATE baton.intents SET state = 'closed' WHERE decision = %s AND state = 'open'", decision)

    async def supersede(self, decision: str) -> None:
        """Set a decision aside that the registry overtook."""

        def write(cursor: RealDictCursor) -> None:
            cursor.execute("UPDATE baton.intents SET state = 'closed' WHERE decision = %s", (decision,))
            cursor.execute("UPDATE baton.decisions SET superseded = true WHERE id = %s", (decision,))

        await self._database.run(write)

    async def pending(self, busy: Collection[str]) -> list[Change]:
        """Return changes that are not published, in order per model, leaving out models that are busy."""
        query = """
            SELECT model, generation, kind, version, run_id, bundle, previous, actor, reason, decision, committed_at,
                (SELECT id::text FROM baton.ledger) AS ledger
            FROM baton.promotions WHERE published_at IS NULL AND NOT model = ANY(%s)
            ORDER BY model, generation LIMIT 1000
        """
        return [Change(**row) for row in await self._all(query, list(busy))]

    async def mark_published(self, model: str, generation: int) -> None:
        """Say that a change is on the bus."""
        query = "UPDATE baton.promotions SET published_at = clock_timestamp() WHERE model = %s AND generation = %s"
        await self._do(query, model, generation)

    async def reconcile(self) -> list[str]:
        """Capture what the triggers could not; return the models that were out of step."""
        models = [row["model"] for row in await self._all(OUT_OF_STEP)]
        for model in models:  # one transaction each: never hold two models' locks
            await self._do("SELECT baton.capture(%s, 'unknown (MLflow): alias champion found moved', false)", model)
        return models

    async def mirror_stages(self) -> None:
        """Put every champion in stage Production and archive every other version that is there."""

        def write(cursor: RealDictCursor) -> None:
            cursor.execute("SET LOCAL baton.capture = 'off'")
            cursor.execute(MIRROR_STAGES)

        await self._database.run(write)

    async def history(self, model: str, limit: int) -> list[dict[str, Any]]:
        """Return the changes of a model's champion, newest first, each with its decision."""
        return await self._all(HISTORY, model, limit)

    async def decision(self, decision: str) -> dict[str, Any] | None:
        """Return one decision with what happened to it."""
        query = """
            SELECT d.event, d.model, d.decided_at, d.superseded, i.state AS intent
            FROM baton.decisions d LEFT JOIN baton.intents i ON i.decision = d.id WHERE d.id = %s
        """
        rows = await self._all(query, decision)
        return {**rows[0].pop("event"), **rows[0]} if rows else None

    async def _all(self, query: str, *values: object) -> list[dict[str, Any]]:
        def read(cursor: RealDictCursor) -> list[dict[str, Any]]:
            cursor.execute(query, values or None)
            return [dict(row) for row in cursor.fetchall()]

        return await self._database.run(read)

    async def _do(self, query: str, *values: object) -> None:
        await self._database.run(lambda cursor: cursor.execute(query, values))
