"""Requests that run while models are swapped: each answer is counted, none may fail."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

CONNECTIONS = 4
PAUSE_S = 0.02
REQUESTS_PER_CONNECTION = 25  # then a new one, so that every worker gets its share


class Load:
    """A steady stream of prediction requests, and what came of them."""

    def __init__(self, url: str, rows: dict[str, Any] | list[dict[str, Any]]) -> None:
        self._url = url
        self._rows = rows
        self.requests = 0
        self.failures: list[str] = []
        self.versions: Counter[str] = Counter()

    async def run(self) -> None:
        """Send requests over a few connections until cancelled."""
        async with asyncio.TaskGroup() as connections:
            for _ in range(CONNECTIONS):
                connections.create_task(self._connection())

    async def _connection(self) -> None:
        while True:
            async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
                for _ in range(REQUESTS_PER_CONNECTION):
                    await self._ask(client)
                    await asyncio.sleep(PAUSE_S)

    async def _ask(self, client: httpx.AsyncClient) -> None:
        self.requests += 1
        try:
            answer = await client.post(self._url, json=self._rows)
            answer.raise_for_status()
            self.versions[answer.json()["version"]] += 1
        except asyncio.CancelledError:
            self.requests -= 1  # cut off by us, neither answered nor failed
            raise
        except (httpx.HTTPError, KeyError, ValueError) as error:
            self.failures.append(f"{type(error).__name__}: {error}")


@asynccontextmanager
async def running(load: Load) -> AsyncIterator[Load]:
    """Run a load in the background."""
    task = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
