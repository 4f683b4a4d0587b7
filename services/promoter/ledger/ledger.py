"""The ledger: what was decided, and what is about to happen, in PostgreSQL."""

from dataclasses import dataclass
from typing import Literal

from psycopg2.extras import RealDictCursor

from services.promoter.cases import Case
from services.promoter.ledger.database import Database
from services.promoter.ledger.lineage import Step, predecessors
from shared.events import PromotionDecided

STANDING = """
    SELECT m.generation, m.champion, m.frozen, m.frozen_by, m.frozen_reason,
        extract(epoch FROM clock_timestamp() - m.changed_at)::float AS changed_s_ago,
        coalesce(d.source_event LIKE 'rejected:%%', false) AS taken_back
    FROM baton.models m
    LEFT JOIN baton.promotions p ON p.model = m.model AND p.generation = m.generation
    LEFT JOIN baton.decisions d ON d.id = p.decision
    WHERE m.model = %s
"""
AWAITING = """
    SELECT d.event FROM baton.decisions d JOIN baton.intents i ON i.decision = d.id
    WHERE d.model = %s AND i.state = 'awaiting' AND d.version = coalesce(nullif(%s, ''), d.version) AND NOT d.superseded
    ORDER BY d.decided_at DESC LIMIT 1
"""
LINEAGE = """
    SELECT p.version, d.action, bool_or(p.served_at IS NOT NULL) OVER (PARTITION BY p.version) AS served
    FROM baton.promotions p LEFT JOIN baton.decisions d ON d.id = p.decision
    WHERE p.model = %s ORDER BY p.generation
"""
REJECTED = "SELECT DISTINCT version, run_id FROM baton.rejections WHERE model = %s AND check_failed = ANY(%s)"
# Versions that somebody counts on; what awaits approval on an older champion can not be approved any more.
NEEDED = """
    WITH own AS (SELECT %s::text AS model), known AS (SELECT m.* FROM baton.models m JOIN own USING (model))
    SELECT champion AS version, 'is champion' AS why FROM known WHERE champion IS NOT NULL
    UNION ALL
    SELECT version, 'is not published yet' FROM baton.promotions JOIN own USING (model)
    WHERE published_at IS NULL AND version IS NOT NULL
    UNION ALL
    SELECT version, CASE state WHEN 'open' THEN 'is being promoted' ELSE 'awaits approval' END
    FROM baton.intents JOIN own USING (model)
    WHERE state IN ('open', 'awaiting') AND expected_generation >= coalesce((SELECT generation FROM known), 0)
"""
# Predictors that start read the last change of each champion, whatever a version's tag says today.
BUNDLE_NEEDED = """
    SELECT 1 FROM baton.promotions p JOIN baton.models m USING (model)
    WHERE position(%s IN p.bundle) > 0
        AND (p.published_at IS NULL OR (p.generation = m.generation AND m.champion IS NOT NULL)) LIMIT 1
"""
DECIDE = """
    INSERT INTO baton.decisions
        (id, source_event, model, version, verdict, reason, event, action, actor, generation)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
INTEND = """
    INSERT INTO baton.intents (decision, model, version, expected_generation, actor, reason, state)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
"""

# What a bundle fails by itself, or hangs in (docs/decisions/0017); a download that fails speaks against the network.
AGAINST_THE_BUNDLE = ("digest", "load", "schema", "warm_up", "golden", "deadline")


@dataclass(frozen=True)
class Standing:
    """A model's champion (None: it has none), the generation that made it so, and whether the policy may change it.

    `taken_back` says that the champion is there because predictors rejected another one.
    """

    generation: int = 0
    champion: str | None = None
    frozen: bool = False
    frozen_by: str | None = None
    frozen_reason: str | None = None
    changed_s_ago: float | None = None
    taken_back: bool = False


@dataclass(frozen=True)
class Intent:
    """A promotion about to be carried out, if the model still stands where it was judged.

    One that is `awaiting` is seen by nobody until a person approves the decision.
    """

    expected_generation: int
    actor: str
    reason: str
    state: Literal["open", "awaiting"] = "open"


class Ledger:
    """Queries on decisions and intents; each is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def standing(self, model: str) -> Standing:
        """Return who is champion of a model."""
        rows = await self._database.all(STANDING, model)
        return Standing(**rows[0]) if rows else Standing()

    async def predecessors(self, model: str, *, served: bool = False) -> list[str]:
        """Return the versions that one can go back to, nearest first; with `served`, only those that have served."""
        rows = await self._database.all(LINEAGE, model)
        found = predecessors(Step(row["version"], row["action"]) for row in rows)
        have_served = {row["version"] for row in rows if row["served"]}
        return [version for version in found if version in have_served or not served]

    async def rejected(self, model: str) -> set[tuple[str, str | None]]:
        """Return the versions, each with its run, that predictors rejected for what is in their bundle."""
        rows = await self._database.all(REJECTED, model, list(AGAINST_THE_BUNDLE))
        return {(row["version"], row["run_id"]) for row in rows}

    async def needed(self, model: str) -> dict[str, str]:
        """Return the versions that must not be deleted as far as the ledger knows, each with why."""
        return {row["version"]: row["why"] for row in await self._database.all(NEEDED, model)}

    async def is_bundle_needed(self, digest: str) -> bool:
        """Say whether a champion of any model has a bundle, or a change that is not published."""
        return bool(await self._database.all(BUNDLE_NEEDED, digest))

    async def decision_on(self, source_event: str) -> PromotionDecided | None:
        """Return the decision that stands for an event."""
        query = "SELECT event FROM baton.decisions WHERE source_event = %s AND NOT superseded"
        rows = await self._database.all(query, source_event)
        return PromotionDecided.model_validate(rows[0]["event"]) if rows else None

    async def awaiting(self, model: str, version: str) -> PromotionDecided | None:
        """Return the newest decision that awaits approval, on one version if it is not empty."""
        rows = await self._database.all(AWAITING, model, version)
        return PromotionDecided.model_validate(rows[0]["event"]) if rows else None

    async def record(self, case: Case, decided: PromotionDecided, intent: Intent | None) -> None:
        """Write a decision with all that follows from it, unless a decision stands for the event already."""
        decision = (
            decided.decision, case.source_event, case.model, decided.version, decided.verdict, decided.reason,
            decided.model_dump_json(), decided.action, decided.actor, decided.generation,
        )  # fmt: skip

        def write(cursor: RealDictCursor) -> None:
            cursor.execute(DECIDE, decision)
            if not cursor.rowcount:
                return
            if intent is not None:
                promotion = (intent.expected_generation, intent.actor, intent.reason, intent.state)
                cursor.execute(INTEND, (decided.decision, case.model, decided.version, *promotion))
            _freeze_or_thaw(cursor, case, decided)

        await self._database.run(write)

    async def renew_intent(self, decision: str) -> bool:
        """Say that a decision is about to be carried out; return False if it was, or never will be."""
        renew = (
            "UPDATE baton.intents SET opened_at = clock_timestamp() WHERE decision = %s AND state = 'open' RETURNING 1"
        )
        return bool(await self._database.all(renew, decision))

    async def close_intent(self, decision: str) -> None:
        """Say that a decision needs nothing more."""
        close = "UPDATE baton.intents SET state = 'closed' WHERE decision = %s AND state = 'open'"
        await self._database.do(close, decision)

    async def supersede(self, decision: str) -> None:
        """Set a decision aside that the registry overtook."""

        def write(cursor: RealDictCursor) -> None:
            cursor.execute("UPDATE baton.intents SET state = 'closed' WHERE decision = %s", (decision,))
            cursor.execute("UPDATE baton.decisions SET superseded = true WHERE id = %s", (decision,))

        await self._database.run(write)


def _freeze_or_thaw(cursor: RealDictCursor, case: Case, decided: PromotionDecided) -> None:
    """Freeze a model that a person rolls back; the policy may promote again after a promotion by hand, or when told."""
    if case.by != "hand" or decided.verdict not in ("promoted", "done"):
        return
    if case.action == "rollback":
        freeze = "UPDATE baton.models SET frozen = true, frozen_by = %s, frozen_reason = %s WHERE model = %s"
        cursor.execute(freeze, (case.actor, decided.reason, case.model))
    elif case.action in ("promote", "approve", "unfreeze"):
        thaw = "UPDATE baton.models SET frozen = false, frozen_by = NULL, frozen_reason = NULL WHERE model = %s"
        cursor.execute(thaw, (case.model,))
