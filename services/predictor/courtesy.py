"""Courtesy: what a worker does besides answering requests goes in small steps, with a rest before each."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from types import TracebackType
from typing import Any

from faststream import BaseMiddleware, ContextRepo
from faststream.message import StreamMessage

REST_S = 0.02  # whom a step held up is answered by then, even where requests leave little of the processor
MANY_S = 0.02  # what comes so soon after the last message is one of many, as at a start


async def rest() -> None:
    """Rest before a step."""
    await asyncio.sleep(REST_S)


class Pace:
    """Tells messages that come by themselves from those that come one right after the other."""

    def __init__(self) -> None:
        self._ended = 0.0

    def rest_s(self) -> float:
        """Return how long to rest before each step of a message that has just come: of many, only the first rests."""
        return REST_S if monotonic() - self._ended > MANY_S else 0.0

    def end(self) -> None:
        """Note that a message was handled."""
        self._ended = monotonic()


class GiveWay(BaseMiddleware):
    """Takes messages in steps: to read, check and handle one in a single turn of the loop is long beside a request."""

    def __init__(self, pace: Pace, message: Any, /, *, context: ContextRepo) -> None:
        super().__init__(message, context=context)
        self._pace = pace
        self._rest_s = 0.0

    async def on_receive(self) -> None:
        """Give way before a message is read."""
        self._rest_s = self._pace.rest_s()
        await asyncio.sleep(self._rest_s)
        await super().on_receive()

    async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: StreamMessage[Any]) -> Any:
        """Give way before a message is handled."""
        await asyncio.sleep(self._rest_s)
        return await call_next(msg)

    async def after_processed(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> bool | None:
        """Note that a message was handled."""
        self._pace.end()
        return await super().after_processed(exc_type, exc_val, exc_tb)
