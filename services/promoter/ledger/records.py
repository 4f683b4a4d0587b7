"""The records: what was in production when, and why."""

from datetime import datetime
from typing import Any

from services.promoter.ledger.database import Database

# A version serves until another is served or it is withdrawn, which is later than the commit that replaces it; and what
# no predictor ever served replaced nothing. Metrics come from the decision behind the change; for a change by hand from
# the newest decision that scored the version.
HISTORY = """
    SELECT p.model, p.generation, p.kind, p.version, p.run_id, p.previous, p.actor, p.reason, p.decision,
        p.committed_at, p.published_at, p.served_at, replaced.at AS replaced_at,
        extract(epoch FROM coalesce(replaced.at, clock_timestamp()) - p.served_at)::float AS served_s,
        d.verdict, d.action, d.event -> 'rules' AS rules, own.metrics AS challenger_metrics,
        CASE WHEN p.previous IS NOT NULL THEN coalesce(own.beaten, before.metrics) END AS champion_metrics
    FROM baton.promotions p
    LEFT JOIN baton.decisions d ON d.id = p.decision
    LEFT JOIN LATERAL (
        SELECT min(CASE later.kind WHEN 'withdrawn' THEN later.committed_at ELSE later.served_at END) AS at
        FROM baton.promotions later WHERE later.model = p.model AND later.generation > p.generation
    ) replaced ON true
    LEFT JOIN LATERAL (
        SELECT s.event -> 'challenger_metrics' AS metrics,
            CASE s.event ->> 'champion' WHEN p.previous THEN nullif(s.event -> 'champion_metrics', 'null') END AS beaten
        FROM baton.decisions s
        WHERE s.model = p.model AND s.version = p.version AND s.event -> 'challenger_metrics' <> '{}'
        ORDER BY s.id = p.decision DESC, s.decided_at DESC LIMIT 1
    ) own ON true
    LEFT JOIN LATERAL (
        SELECT s.event -> 'challenger_metrics' AS metrics FROM baton.decisions s
        WHERE s.model = p.model AND s.version = p.previous AND s.event -> 'challenger_metrics' <> '{}'
        ORDER BY s.decided_at DESC LIMIT 1
    ) before ON true
    WHERE p.model = %s ORDER BY p.generation DESC LIMIT %s
"""
# The last change of each model that was committed by then; one that was withdrawn has no champion.
AUDIT = """
    SELECT p.model, p.version, p.run_id, p.generation, p.kind, p.committed_at AS since, later.committed_at AS until,
        p.served_at, p.previous, p.actor, p.reason, p.decision, d.action
    FROM (
        SELECT DISTINCT ON (model) * FROM baton.promotions WHERE committed_at <= %s ORDER BY model, generation DESC
    ) p
    LEFT JOIN baton.promotions later ON later.model = p.model AND later.generation = p.generation + 1
    LEFT JOIN baton.decisions d ON d.id = p.decision
    ORDER BY p.model
"""
DECISION = """
    SELECT d.event, d.model, d.decided_at, d.superseded, i.state AS intent
    FROM baton.decisions d LEFT JOIN baton.intents i ON i.decision = d.id
    WHERE d.id = %s OR d.source_event = %s ORDER BY d.superseded, d.decided_at DESC LIMIT 1
"""
# What awaits approval on an older champion can not be approved any more.
STANDINGS = """
    SELECT coalesce(m.model, waiting.model) AS model, m.champion, coalesce(m.generation, 0) AS generation,
        coalesce(m.frozen, false) AS frozen, m.frozen_by, m.frozen_reason, coalesce(waiting.decisions, '[]') AS awaiting
    FROM baton.models m
    FULL JOIN (
        SELECT d.model, jsonb_agg(jsonb_build_object(
            'version', d.version, 'decision', d.id, 'reason', d.reason, 'since', d.decided_at
        ) ORDER BY d.decided_at DESC) AS decisions
        FROM baton.decisions d JOIN baton.intents i ON i.decision = d.id LEFT JOIN baton.models n ON n.model = d.model
        WHERE i.state = 'awaiting' AND NOT d.superseded AND i.expected_generation = coalesce(n.generation, 0)
        GROUP BY d.model
    ) waiting ON waiting.model = m.model
    ORDER BY 1
"""
CAPTURE_ERRORS = """
    SELECT id, happened_at AS at, trigger_name AS trigger, changed ->> 'name' AS model, changed, sqlstate, message
    FROM baton.capture_errors WHERE id > %s ORDER BY id DESC LIMIT 100
"""


class Records:
    """Questions to the ledger; nothing is changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def history(self, model: str, limit: int) -> list[dict[str, Any]]:
        """Return the changes of a model's champion, newest first, each with its decision; `served_s` in seconds."""
        return await self._database.all(HISTORY, model, limit)

    async def audit(self, at: datetime) -> list[dict[str, Any]]:
        """Return for each model the change that held at an instant; `version` is None where it had no champion."""
        return await self._database.all(AUDIT, at)

    async def decision(self, identity: str) -> dict[str, Any] | None:
        """Return one decision with what happened to it, by its own id or by that of the event that asked for it."""
        rows = await self._database.all(DECISION, identity, identity)
        return {**rows[0].pop("event"), **rows[0]} if rows else None

    async def standings(self) -> list[dict[str, Any]]:
        """Return for each model its champion and generation, by whom and why it is frozen, what awaits approval."""
        return await self._database.all(STANDINGS)

    async def capture_errors(self, after: int = 0) -> list[dict[str, Any]]:
        """Return the last hundred errors of the capture with an id beyond `after`, newest first."""
        return await self._database.all(CAPTURE_ERRORS, after)
