"""Polling: capture from outside, for an MLflow whose database cannot be reached. It watches through MLflow's API.

What it cannot see is said with every change it records: who made it, and what was so between two looks.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

from psycopg2.extras import RealDictCursor

from services.promoter.ledger.database import Database
from shared.errors import PromotionConflictError, RegistryError
from shared.registry import Registry
from shared.telemetry import logger
from shared.versions import PRODUCTION, TAG_BUNDLE

UNSEEN = "polling sees neither who did it nor what was between two looks"
KNOWN = "SELECT champion, generation, production FROM baton.models WHERE model = %s"
CHAMPIONS = "SELECT model, champion FROM baton.models"
LOCK = "SELECT coalesce((SELECT generation FROM baton.models WHERE model = %s FOR UPDATE), 0) AS generation"
RECORD = "SELECT baton.record_change(%s, %s, %s, %s, %s, false) AS changed"
SEEN = """
    INSERT INTO baton.models (model, production) VALUES (%s, %s)
    ON CONFLICT (model) DO UPDATE SET production = EXCLUDED.production
"""

Step = Literal["record", "follow", "mirror", "note", "nothing"]
MOST_STEPS = 5  # of one look at one model; what is left then has the next look

log = logger(__name__)


@dataclass(frozen=True)
class Known:
    """What the ledger knows of a model: its champion, and which versions were in stage Production at the last look."""

    champion: str | None = None
    generation: int = 0
    production: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Sight:
    """What MLflow says of a model: where the alias points, and which versions are in Production, in order."""

    champion: str | None
    production: tuple[str, ...] = ()


def next_step(known: Known, sight: Sight) -> tuple[Step, str | None]:
    """Return what to do about a model and with which version.

    `record` a champion that the ledger does not know; `follow` a version that was moved to Production since the last
    look, of several the newest; `mirror` the alias to the stages; `note` the stages as they are. An alias that moved
    wins over a stage that did.
    """
    if sight.champion != known.champion:
        return "record", sight.champion
    raised = [version for version in sight.production if version not in known.production | {sight.champion}]
    if raised:
        return "follow", raised[-1]
    if sight.champion is not None and set(sight.production) != {sight.champion}:
        return "mirror", sight.champion
    if set(sight.production) != known.production:
        return "note", None
    return "nothing", None


class Polling:
    """Looks at every model's alias, and at the stages of those that MLflow says have changed."""

    mode = "poll"

    def __init__(self, database: Database, registry: Registry, interval_s: float) -> None:
        self.interval_s = interval_s
        self.blind_to = ["who made a change", f"states that lasted less than {interval_s:g} s, between two looks"]
        self._database = database
        self._registry = registry
        self._updated: dict[str, int] = {}  # when MLflow last changed a model whose stages were looked at
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # or each would follow what the other does

    async def promote(self, model: str, version: str, generation: int) -> None:
        """Compare, move the alias, record it: as close together as can be, for MLflow compares nothing itself."""
        async with self._turns[model]:
            await self._steps(model, stop_before=("follow", "mirror"))
            if (await self._known(model)).generation != generation:
                raise PromotionConflictError(f"{model} version {version} was judged against an older champion")
            await asyncio.to_thread(self._registry.promote, model, version)
            await self._steps(model, stop_before=("follow", "mirror"))

    async def look(self) -> None:
        """Look at every alias, and closer at models that changed since they were looked at."""
        known = {row["model"]: row["champion"] for row in await self._database.all(CHAMPIONS)}
        registered = {found.model: found for found in await asyncio.to_thread(self._registry.registered)}
        for model, found in registered.items():
            if found.champion != known.get(model) or found.updated != self._updated.get(model):
                await self.mirror(model)
                self._updated[model] = found.updated
        for model in [model for model, champion in known.items() if champion and model not in registered]:
            await self.mirror(model)

    async def catch_up(self) -> list[str]:
        """Look closely at every model; what a look finds is no repair, it is how polling works."""
        self._updated.clear()
        await self.look()
        return []

    async def mirror(self, model: str) -> None:
        """Bring a model's stages in step, and record what has changed meanwhile."""
        async with self._turns[model]:
            try:
                await self._steps(model)
            except RegistryError as error:  # one model's trouble is no other's
                log.warning("a model cannot be watched", model=model, error=str(error))

    async def _steps(self, model: str, stop_before: tuple[Step, ...] = ()) -> None:
        for _ in range(MOST_STEPS):
            known = await self._known(model)  # first: what the ledger learns meanwhile must not look undone
            sight = await asyncio.to_thread(self._sight, model)
            step, version = next_step(known, sight)
            if step == "nothing" or step in stop_before:
                return
            await self._take(step, model, version, known, sight)

    async def _take(self, step: Step, model: str, version: str | None, known: Known, sight: Sight) -> None:
        if step == "record":
            what = "moved" if version else "deleted"
            await self._record(model, version, known, sight, f"alias champion found {what}; {UNSEEN}")
        elif step == "follow" and version is not None:
            await asyncio.to_thread(self._registry.promote, model, version)
            await self._record(model, version, known, sight, f"stage found set to Production; {UNSEEN}")
        elif step == "mirror" and version is not None:
            await asyncio.to_thread(self._registry.put_in_production, model, version)
        else:
            await self._database.do(SEEN, model, list(sight.production))

    async def _record(self, model: str, version: str | None, known: Known, sight: Sight, reason: str) -> None:
        found = await asyncio.to_thread(self._registry.version, model, version) if version else None
        if version and found is None:
            return  # deleted since it was seen
        run_id, bundle = (found.run_id, found.tags.get(TAG_BUNDLE)) if found else (None, None)

        def write(cursor: RealDictCursor) -> None:
            cursor.execute(LOCK, (model,))
            (row,) = cursor.fetchall()
            if row["generation"] != known.generation:
                return  # somebody else recorded a change: look again
            cursor.execute(RECORD, (model, version, run_id, bundle, reason))
            cursor.execute(SEEN, (model, list(sight.production)))

        await self._database.run(write)

    async def _known(self, model: str) -> Known:
        rows = await self._database.all(KNOWN, model)
        if not rows:
            return Known()
        return Known(rows[0]["champion"], rows[0]["generation"], frozenset(rows[0]["production"]))

    def _sight(self, model: str) -> Sight:
        champion = self._registry.champion(model)
        in_production = tuple(found.version for found in self._registry.versions(model) if found.stage == PRODUCTION)
        return Sight(champion.version if champion else None, in_production)
