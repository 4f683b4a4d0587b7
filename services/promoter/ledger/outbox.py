"""The outbox: every change of a champion, as the capture wrote it, and whether the bus knows of it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.promoter.ledger.database import Database

# Each model's last change that an event can be made of; those of models whose changes still wait are left to the relay.
LAST_PUBLISHED = """
    SELECT p.model, p.generation, p.kind, p.version, p.bundle, (SELECT id::text FROM baton.ledger) AS ledger,
        extract(epoch FROM clock_timestamp() - p.published_at)::float AS published_s_ago
    FROM baton.models m CROSS JOIN LATERAL (
        SELECT * FROM baton.promotions c WHERE c.model = m.model AND (c.kind = 'withdrawn' OR c.bundle IS NOT NULL)
        ORDER BY c.generation DESC LIMIT 1
    ) p
    WHERE NOT EXISTS (SELECT FROM baton.promotions w WHERE w.model = m.model AND w.published_at IS NULL)
    ORDER BY p.model
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
    request_id: str | None = None

    @property
    def id(self) -> str:
        """The change's own id, for ever."""
        return f"{self.ledger}:{self.model}:{self.generation}"


@dataclass(frozen=True)
class Published:
    """The last change of a champion that the bus was told of."""

    model: str
    generation: int
    kind: str
    version: str | None
    bundle: str | None
    published_s_ago: float
    ledger: str


class Outbox:
    """Queries on captured changes; each is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending(self, busy: Collection[str]) -> list[Change]:
        """Return changes that are not published, in order per model, leaving out models that are busy."""
        query = """
            SELECT model, generation, kind, version, run_id, bundle, previous, actor, reason, decision, committed_at,
                (SELECT id::text FROM baton.ledger) AS ledger,
                (SELECT d.event->>'request_id' FROM baton.decisions d WHERE d.id = decision) AS request_id
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

    async def last_published(self) -> list[Published]:
        """Return the last change that was published of each model, in order of models; none while changes wait."""
        return [Published(**row) for row in await self._database.all(LAST_PUBLISHED)]

    async def publish_again(self, model: str, generation: int) -> None:
        """Have the relay publish a change that the bus has lost."""
        query = """
            WITH again AS (
                UPDATE baton.promotions SET published_at = NULL WHERE model = %s AND generation = %s RETURNING model
            ) SELECT pg_notify('baton_promotions', model) FROM again
        """
        await self._database.do(query, model, generation)
