"""Being the one relay of a database, and hearing from it: an advisory lock and LISTEN on one connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg2

from services.promoter.ledger.database import Connection, connect

CHANNEL = "baton_promotions"
LOCK = 0x4261746F6E02
STANDBY_S = 1.0


class Listener:
    """Holds the lock as long as its connection lives; `wait` ends early when the capture notifies."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._descriptor = connection.fileno()
        self._news = asyncio.Event()
        self._lost: psycopg2.Error | None = None
        asyncio.get_running_loop().add_reader(self._descriptor, self._read)

    async def wait(self, timeout_s: float) -> None:
        """Return after a notification or the timeout; raise `psycopg2.Error` once the lock is lost."""
        with suppress(TimeoutError):
            # Not `wait_for`: before Python 3.12 it can swallow a cancellation.
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        self._news.clear()
        if self._lost is not None:
            raise self._lost

    def wake(self) -> None:
        """End the current or the next wait."""
        self._news.set()

    def close(self) -> None:
        """Give up the lock."""
        asyncio.get_running_loop().remove_reader(self._descriptor)
        self._connection.close()

    def _read(self) -> None:
        try:
            self._connection.poll()
        except psycopg2.Error as error:  # a closed socket stays readable: stop reading it
            self._lost = error
            asyncio.get_running_loop().remove_reader(self._descriptor)
        self._connection.notifies.clear()
        self._news.set()


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Listener]:
    """Wait until nobody else holds the lock, then listen; raise `psycopg2.Error` when the server goes away."""
    connection = await asyncio.to_thread(_connect, url)
    try:
        await _become_the_one(connection)
        listener = Listener(connection)
    except BaseException:
        connection.close()
        raise
    try:
        yield listener
    finally:
        listener.close()


async def _become_the_one(connection: Connection) -> None:
    while True:
        attempt = asyncio.ensure_future(asyncio.to_thread(_lock, connection))
        try:
            is_held = await asyncio.shield(attempt)
        except asyncio.CancelledError:
            while not attempt.done():  # a connection that a thread works on must not be closed
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([attempt])
            raise
        if is_held:
            return
        await asyncio.sleep(STANDBY_S)


def _connect(url: str) -> Connection:
    connection = connect(url)
    connection.autocommit = True
    return connection


def _lock(connection: Connection) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,))
        is_held = cursor.fetchone() == (True,)
        if is_held:
            cursor.execute(f"LISTEN {CHANNEL}")
        return is_held
