"""Turns: one promoter at a time judges a model, however many there are.

A lease in the ledger, renewed while it is needed. A promoter that is paused loses its turn without knowing; what it
does then is refused, because its intent is out of date. So turns save work, and only the intents keep order.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg2.extras import RealDictCursor

from services.promoter.ledger.database import Database
from shared.errors import UnreachableError
from shared.tasks import end
from shared.telemetry import logger

LEASE_S = 10.0
POLL_S = 0.1

TAKE = """
    INSERT INTO baton.turns AS turn (model, holder, ends_at)
    VALUES (%(model)s, %(holder)s, clock_timestamp() + %(lease)s * interval '1 s')
    ON CONFLICT (model) DO UPDATE SET holder = EXCLUDED.holder, ends_at = EXCLUDED.ends_at
        WHERE turn.holder = EXCLUDED.holder OR turn.ends_at < clock_timestamp()
    RETURNING true
"""
# It makes no turn anew: one that is given back stays so, even where the renewal was under way.
RENEW = """
    UPDATE baton.turns SET ends_at = clock_timestamp() + %(lease)s * interval '1 s'
    WHERE model = %(model)s AND holder = %(holder)s
"""
GIVE_BACK = "DELETE FROM baton.turns WHERE model = %(model)s AND holder = %(holder)s"

log = logger(__name__)


class Turns:
    """Leases on models; `lease_s` is how long a promoter that died stands in the way of others."""

    def __init__(self, database: Database, lease_s: float = LEASE_S) -> None:
        self._database = database
        self._lease_s = lease_s

    @asynccontextmanager
    async def of(self, model: str) -> AsyncIterator[None]:
        """Wait for the turn of a model and hold it, also against other tasks of this process."""
        holder = str(uuid.uuid4())
        while not await self._take(model, holder):  # noqa: ASYNC110 - its holder may be another process
            await asyncio.sleep(POLL_S)
        renewing = asyncio.create_task(self._renew(model, holder))
        try:
            yield
        finally:
            await end([renewing])
            await self._do(GIVE_BACK, model, holder)

    async def _renew(self, model: str, holder: str) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 4)
            try:
                await self._do(RENEW, model, holder)
            except UnreachableError as error:
                log.warning("turn not renewed", model=model, error=str(error))

    async def _take(self, model: str, holder: str) -> bool:
        def take(cursor: RealDictCursor) -> bool:
            cursor.execute(TAKE, {"model": model, "holder": holder, "lease": self._lease_s})
            return cursor.fetchone() is not None

        return await self._database.run(take)

    async def _do(self, statement: str, model: str, holder: str) -> None:
        def do(cursor: RealDictCursor) -> None:
            cursor.execute(statement, {"model": model, "holder": holder, "lease": self._lease_s})

        await self._database.run(do)
