"""Capture: how changes of champions get into the ledger, and stages into step: by triggers, or by `polling`."""

import asyncio
from typing import Protocol

from psycopg2.extras import RealDictCursor

from services.promoter.capture.migration import repair_triggers
from services.promoter.ledger.database import Database
from shared.registry import Registry
from shared.telemetry import logger

# Both ways in which alias and ledger can differ: a capture that failed, or was not installed.
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

log = logger(__name__)


class Capture(Protocol):
    """What the promoter asks of a capture; it wants to look every `interval_s`, and never sees what `blind_to` says."""

    mode: str
    blind_to: list[str]
    interval_s: float

    async def promote(self, model: str, version: str, generation: int) -> None:
        """Make a version champion in MLflow, if `generation` is still the model's.

        Raise `PromotionConflictError` if it is not, and `RegistryError` if MLflow refuses.
        """

    async def look(self) -> None:
        """Do what has to be done again and again, cheaply."""

    async def catch_up(self) -> list[str]:
        """Compare everything, record what was missed, and return the models that it was missed of."""

    async def mirror(self, model: str) -> None:
        """Bring a model's stages in step with its alias."""


class Triggers:
    """Capture in MLflow's own transactions, by the triggers of `capture.sql`."""

    mode = "triggers"
    interval_s = 2.0

    def __init__(self, database: Database, registry: Registry) -> None:
        self.blind_to: list[str] = []
        self._database = database
        self._registry = registry

    async def promote(self, model: str, version: str, generation: int) -> None:
        """Move the alias; the trigger compares generations in MLflow's transaction, and nobody can come between."""
        await asyncio.to_thread(self._registry.promote, model, version)

    async def look(self) -> None:
        """Bring the stages of all models in step, those left out for somebody's lock a moment ago among them."""

        def write(cursor: RealDictCursor) -> None:
            cursor.execute("SET LOCAL baton.capture = 'off'")
            cursor.execute(MIRROR_STAGES)

        await self._database.run(write)

    async def catch_up(self) -> list[str]:
        """Put back triggers that a migration of MLflow's took along, and capture what they could not."""
        if await repair_triggers(self._database):
            log.warning("the capture's triggers were gone and are installed again")
        await self._database.do("DELETE FROM baton.touched")  # what is visible here was judged in vain
        models = [row["model"] for row in await self._database.all(OUT_OF_STEP)]
        capture = "SELECT baton.capture(%s, 'alias champion found moved', false) AS differed"
        # One transaction each: never hold two models' locks.
        return [model for model in models if (await self._database.all(capture, model))[0]["differed"]]

    async def mirror(self, model: str) -> None:
        """Bring the stages in step: one statement does it for all models at once."""
        await self.look()
