"""Runs children together: each starts when what it needs is ready and stops after those that need it."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio

from compose.local.backoff import Backoff
from compose.local.child import Change, Child, State
from compose.local.datadir import DataDir
from compose.local.keeper import Keeper, first_of

Listener = Callable[[Change], None]


class Supervisor:
    """The children of a stack; `after` names that are not among them (attached parts) are ready from the start."""

    def __init__(
        self, children: Sequence[Child], data: DataDir, listener: Listener, backoff: Backoff | None = None
    ) -> None:
        self._children = children
        self._data = data
        self._listener = listener
        self._backoff = backoff or Backoff()
        self._keepers: dict[str, Keeper] = {}
        self._began = time.monotonic()

    @property
    def pids(self) -> dict[str, int]:
        """Return the present process id of each child that was started."""
        return {name: keeper.process.pid for name, keeper in self._keepers.items() if keeper.process}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start all children and hold them until the block ends; then stop them, last started first.

        Raise `StackError` naming the first child that cannot be started, after the others were stopped.
        """
        self._keepers = {c.name: Keeper(c, self._data, self._report, self._backoff) for c in self._children}
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            for keeper in self._keepers.values():
                tasks.start_soon(keeper.keep, self._needs(keeper), self._users(keeper))
            try:
                await self._until_all_ready()
                yield
            except Exception as error:
                failure = error
            finally:
                for keeper in self._keepers.values():
                    keeper.halt()
        if failure:
            raise failure

    def _needs(self, keeper: Keeper) -> list[Keeper]:
        return [self._keepers[name] for name in keeper.child.after if name in self._keepers]

    def _users(self, keeper: Keeper) -> list[Keeper]:
        return [user for user in self._keepers.values() if keeper.child.name in user.child.after]

    async def _until_all_ready(self) -> None:
        async def all_ready() -> None:
            for keeper in self._keepers.values():
                await keeper.ready.wait()

        await first_of(all_ready, *(keeper.given_up.wait for keeper in self._keepers.values()))
        for keeper in self._keepers.values():
            if keeper.failure:
                raise keeper.failure

    def _report(self, part: str, state: State, detail: str) -> None:
        self._listener(Change(part, state, time.monotonic() - self._began, detail))
