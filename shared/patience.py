"""Patience with servers that come and go: what may be repeated is, until somebody answers.

A server that restarts is back within seconds, and where several are a cluster, the others agree within seconds on who
takes over what it did.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from nats.errors import NoRespondersError, OutboundBufferLimitError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.errors import APIError, NoStreamResponseError, ServerError, ServiceUnavailableError

from shared.errors import UnreachableError

PATIENCE_S = 60.0
PAUSE_S = 0.25
IN_PROCESS = 10158  # JetStream's code: a message of this id is still being copied to the other servers

Anything = TypeVar("Anything")

PASSING = (
    NatsTimeoutError,
    NoRespondersError,
    NoStreamResponseError,
    OutboundBufferLimitError,
    ServerError,
    ServiceUnavailableError,
    OSError,
)


async def patiently(attempt: Callable[[], Awaitable[Anything]], failure: str) -> Anything:
    """Repeat what may be repeated while nobody answers; raise `UnreachableError` in the end."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S) as limit:
            while not limit.expired():  # the cancel that ends it may have been swallowed (shared/tasks.py)
                try:
                    return await attempt()
                except (APIError, *PASSING) as error:
                    if not passes(error):
                        raise
                await asyncio.sleep(PAUSE_S)
    raise UnreachableError(f"{failure}: NATS did not answer within {PATIENCE_S:.0f} s")


def passes(error: Exception) -> bool:
    """Tell whether an error is nothing but a server that is away, or a cluster that has to agree first."""
    return isinstance(error, PASSING) or (isinstance(error, APIError) and error.err_code == IN_PROCESS)
