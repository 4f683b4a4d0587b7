"""Transactions on PostgreSQL from asyncio: threads of their own, one connection per thread."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeAlias, TypeVar

import psycopg2
import psycopg2.extensions
from psycopg2.extras import RealDictCursor

from shared.errors import UnreachableError

Answer = TypeVar("Answer")
Connection: TypeAlias = psycopg2.extensions.connection
Work = Callable[[RealDictCursor], Answer]

RETRY_S = 0.2
DEADLINE_S = 60.0
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

    async def run(self, work: Work[Answer], deadline_s: float = DEADLINE_S) -> Answer:
        """Run `work(cursor)` as one transaction and return its result.

        It is repeated while the server is away, refuses a lock or finds a deadlock, so it must be safe to repeat; raise
        `UnreachableError` after `deadline_s` seconds.
        """
        return await self._in_thread(partial(self._transaction, work), deadline_s)

    async def all(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Run one query, which is a transaction, and return its rows."""

        def read(cursor: RealDictCursor) -> list[dict[str, Any]]:
            cursor.execute(query, values or None)
            return [dict(row) for row in cursor.fetchall()]

        return await self._in_thread(partial(self._statement, read))

    async def do(self, query: str, *values: object) -> None:
        """Run one statement, which is a transaction."""
        await self._in_thread(partial(self._statement, lambda cursor: cursor.execute(query, values)))

    def close(self) -> None:
        """Finish what runs, wait for no server that is away, and close the connections."""
        self._closing.set()
        self._executor.shutdown()
        for connection in self._open:
            connection.close()

    async def _in_thread(self, attempt: Callable[[], Answer], deadline_s: float = DEADLINE_S) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._patiently, attempt, deadline_s)

    def _patiently(self, attempt: Callable[[], Answer], deadline_s: float) -> Answer:
        ends = time.monotonic() + deadline_s
        while True:
            try:
                return attempt()
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                self._discard_broken()
                if self._closing.wait(RETRY_S) or time.monotonic() > ends:
                    raise UnreachableError(
                        f"PostgreSQL did not serve the ledger for {deadline_s:.0f} s: {error}"
                    ) from error

    def _transaction(self, work: Work[Answer]) -> Answer:
        with self._connection() as connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
            return work(cursor)

    def _statement(self, work: Work[Answer]) -> Answer:
        """Do one statement without BEGIN and COMMIT, which would cross the wire twice more."""
        connection = self._connection()
        connection.autocommit = True
        try:
            with connection.cursor(cursor_factory=RealDictCursor) as cursor:
                return work(cursor)
        finally:
            if not connection.closed:
                connection.autocommit = False

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
