"""Whether a client is still there: what nobody waits for takes the place of what somebody does."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.types import Receive

from services.predictor.routes.answers import GoneError
from shared.tasks import end

T = TypeVar("T")


async def while_connected(work: Awaitable[T], receive: Receive) -> T:
    """Return what a work returns; give it up and raise `GoneError` if the client goes away before.

    The request's body was received, so that all that can come is that the client is gone. Of requests that were sent
    without waiting for answers, uvicorn says so for the last one only.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(receive())
    try:
        await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
    finally:
        await end([working, leaving])
    raise GoneError("the client went away before it was answered")
