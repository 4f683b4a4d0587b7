"""The records: what was in production when, and why."""

from typing import Any

from services.promoter.database import Database

HISTORY = """
    SELECT p.model, p.generation, p.kind, p.version, p.run_id, p.previous, p.actor, p.reason, p.decision,
        p.committed_at, p.published_at, d.verdict, d.event -> 'rules' AS rules,
        d.event -> 'challenger_metrics' AS challenger_metrics, d.event -> 'champion_metrics' AS champion_metrics
    FROM baton.promotions p LEFT JOIN baton.decisions d ON d.id = p.decision
    WHERE p.model = %s ORDER BY p.generation DESC LIMIT %s
"""


class Records:
    """Questions to the ledger; nothing is changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def history(self, model: str, limit: int) -> list[dict[str, Any]]:
        """Return the changes of a model's champion, newest first, each with its decision."""
        return await self._database.all(HISTORY, model, limit)

    async def decision(self, decision: str) -> dict[str, Any] | None:
        """Return one decision with what happened to it."""
        query = """
            SELECT d.event, d.model, d.decided_at, d.superseded, i.state AS intent
            FROM baton.decisions d LEFT JOIN baton.intents i ON i.decision = d.id WHERE d.id = %s
        """
        rows = await self._database.all(query, decision)
        return {**rows[0].pop("event"), **rows[0]} if rows else None
