"""Transactions on PostgreSQL from asyncio: threads of their own, one connection per thread."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

import psycopg2
import psycopg2.extensions
from psycopg2.extras import RealDictCursor

from shared.errors import UnreachableError

Answer = TypeVar("Answer")
Connection: TypeAlias = psycopg2.extensions.connection
Work = Callable[[RealDictCursor], Answer]

RETRY_S = 0.2
# A server that vanished without a word is noticed within half a minute.
ALIVE: dict[str, Any] = {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}


def connect(url: str) -> Connection:
    """Open a connection; raise `psycopg2.OperationalError` if nobody answers."""
    connection: Connection = psycopg2.connect(url, application_name="baton-promoter", **ALIVE)
    return connection


class Database:
    """A few threads that each keep a connection open and outlive restarts of the server."""

    def __init__(self, url: str, threads: int = 4) -> None:
        self.url = url
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="postgres")
        self._local = threading.local()
        self._open: set[Connection] = set()
        self._closing = threading.Event()

    async def run(self, work: Work[Answer], deadline_s: float = 60.0) -> Answer:
        """Run `work(cursor)` as one transaction and return its result.

        It is repeated while the server is away, refuses a lock or finds a deadlock, so it must be safe to repeat; raise
        `UnreachableError` after `deadline_s` seconds.
        """
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._patiently, work, deadline_s)

    async def all(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Run one query as a transaction and return its rows."""

        def read(cursor: RealDictCursor) -> list[dict[str, Any]]:
            cursor.execute(query, values or None)
            return [dict(row) for row in cursor.fetchall()]

        return await self.run(read)

    async def do(self, query: str, *values: object) -> None:
        """Run one statement as a transaction."""
        await self.run(lambda cursor: cursor.execute(query, values))

    def close(self) -> None:
        """Finish what runs, wait for no server that is away, and close the connections."""
        self._closing.set()
        self._executor.shutdown()
        for connection in self._open:
            connection.close()

    def _patiently(self, work: Work[Answer], deadline_s: float) -> Answer:
        ends = time.monotonic() + deadline_s
        while True:
            try:
                return self._transaction(work)
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                self._discard_broken()
                if self._closing.wait(RETRY_S) or time.monotonic() > ends:
                    raise UnreachableError(
                        f"PostgreSQL did not serve the ledger for {deadline_s:.0f} s: {error}"
                    ) from error

    def _transaction(self, work: Work[Answer]) -> Answer:
        with self._connection() as connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
            return work(cursor)

    def _connection(self) -> Connection:
        found: Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = connect(self.url)
            self._open.add(found)
        return found

    def _discard_broken(self) -> None:
        found: Connection | None = getattr(self._local, "connection", None)
        if found is not None and found.closed:
            self._open.discard(found)
            self._local.connection = None
