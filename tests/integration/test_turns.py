"""Turns on models: one holder at a time, and what was given back stays so."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from psycopg2.extras import RealDictCursor

from services.promoter.capture.migration import migrate
from services.promoter.ledger.database import DEADLINE_S, Answer, Database, Work
from services.promoter.ledger.turns import Turns
from tests.integration.kit import new_model

LEASE_S = 0.4


class HeldUp(Database):
    """A database whose second transaction, the first renewal of a turn, takes until it is `released`."""

    def __init__(self, url: str) -> None:
        super().__init__(url, threads=2)
        self.count = 0
        self.begun = asyncio.Event()
        self.released = threading.Event()

    async def run(self, work: Work[Answer], deadline_s: float = DEADLINE_S) -> Answer:
        self.count += 1
        if self.count != 2:
            return await super().run(work, deadline_s)

        loop = asyncio.get_running_loop()

        def later(cursor: RealDictCursor) -> Answer:
            loop.call_soon_threadsafe(self.begun.set)
            self.released.wait()
            return work(cursor)

        return await super().run(later, deadline_s)


@pytest.fixture
async def database(database_url: str, tracking_uri: str) -> AsyncIterator[Database]:
    opened = Database(database_url)  # MLflow, at `tracking_uri`, has made its tables
    await migrate(opened)
    yield opened
    opened.close()


async def holders(database: Database, model: str) -> int:
    (row,) = await database.all("SELECT count(*) AS held FROM baton.turns WHERE model = %s", model)
    return int(row["held"])


async def test_who_waits_gets_a_turn_as_soon_as_it_is_given_back(database: Database) -> None:
    model, order = new_model(), list[str]()

    async def hold(name: str) -> None:
        async with Turns(database).of(model):
            order.append(f"{name} begins")
            await asyncio.sleep(0)
            order.append(f"{name} ends")

    await asyncio.gather(hold("a"), hold("b"))
    assert order in (["a begins", "a ends", "b begins", "b ends"], ["b begins", "b ends", "a begins", "a ends"])
    assert await holders(database, model) == 0


async def test_a_turn_is_renewed_as_long_as_it_is_held(database: Database) -> None:
    model, turns = new_model(), Turns(database, LEASE_S)
    async with turns.of(model):
        other = asyncio.create_task(turns.of(model).__aenter__())
        await asyncio.sleep(3 * LEASE_S)  # a turn that is not renewed has ended by then
        assert not other.done()
    other.cancel()
    await asyncio.wait([other])


async def test_a_turn_that_is_given_back_while_it_is_renewed_stays_so(database: Database, database_url: str) -> None:
    model, held_up = new_model(), HeldUp(database_url)
    try:
        async with Turns(held_up, LEASE_S).of(model), asyncio.timeout(30):
            await held_up.begun.wait()
        assert await holders(database, model) == 0
    finally:
        held_up.released.set()
        await asyncio.to_thread(held_up.close)  # what runs is finished first
    assert await holders(database, model) == 0
