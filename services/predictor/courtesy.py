"""Courtesy: what a worker does besides answering requests lets these go first, between one small step and the next."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from faststream import BaseMiddleware
from faststream.message import StreamMessage


async def give_way() -> None:
    """Have requests that have come by now, and are answered on the loop, answered before this goes on (by uvloop)."""
    await asyncio.sleep(0)


class GiveWay(BaseMiddleware):
    """Takes messages in steps: to read, check and handle one in a single turn of the loop is long beside a request."""

    async def on_receive(self) -> None:
        """Give way before a message is read."""
        await give_way()
        await super().on_receive()

    async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: StreamMessage[Any]) -> Any:
        """Give way before a message is handled."""
        await give_way()
        return await call_next(msg)
