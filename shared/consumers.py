"""Keeping consumers alive: FastStream's pull subscriber never notices that the server forgot its consumer.

An ephemeral consumer is gone after its inactivity threshold (a paused process), or with the node that had it. The
subscriber then fetches for ever and hears nothing. So somebody asks the server, and subscribes anew.
"""

import asyncio
from typing import Any

from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from shared.telemetry import logger

log = logger(__name__)


async def keep_alive(js: JetStreamContext, subscribers: list[Any], interval_s: float = 2.0) -> None:
    """Ask for each subscriber's consumer every `interval_s` seconds, for ever; restart those that are gone.

    A consumer made anew delivers by its own policy from the beginning: handlers must ignore what they know already.
    """
    while True:
        await asyncio.sleep(interval_s)
        for subscriber in subscribers:
            try:
                await _check(js, subscriber)
            except (NatsError, OSError) as error:  # the server is away: ask again later
                log.debug("consumer not checked", error=repr(error))


async def _check(js: JetStreamContext, subscriber: Any) -> None:
    subscription = subscriber.subscription
    if subscription is None:
        await subscriber.start()
        return
    try:
        await js.consumer_info(subscription._stream, subscription._consumer)  # noqa: SLF001 - nats-py has no accessor
    except NotFoundError:
        log.warning("the server forgot a consumer: subscribing anew", consumer=subscription._consumer)  # noqa: SLF001
        await subscriber.stop()
        await subscriber.start()


async def caught_up(js: JetStreamContext, subscriber: Any, deadline_s: float = 30.0) -> None:
    """Wait until a subscriber has handled everything that was in its stream when it started."""
    async with asyncio.timeout(deadline_s):
        while True:
            subscription = subscriber.subscription
            info = await js.consumer_info(subscription._stream, subscription._consumer)  # noqa: SLF001
            if not info.num_pending and not info.num_ack_pending:
                return
            await asyncio.sleep(0.02)
