"""Keeping consumers alive: FastStream's pull subscriber never notices that the server forgot its consumer.

An ephemeral consumer is gone after its inactivity threshold (a paused process), or away with the one server that
has it in a cluster. The subscriber then fetches for ever and hears nothing. So somebody asks the server, and subscribes
anew.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from faststream.nats.subscriber.usecases import PullStreamSubscriber
from nats.errors import Error as NatsError
from nats.js.api import ConsumerInfo
from nats.js.errors import NotFoundError

from shared.tasks import together
from shared.telemetry import logger

POLL_S = 0.02
ANSWER_S = 1.0

log = logger(__name__)


async def keep_alive(subscribers: Sequence[PullStreamSubscriber], interval_s: float = 2.0) -> None:
    """Ask for each subscriber's consumer every `interval_s` seconds, for ever; restart those that are gone or away.

    Each by itself: one whose server is away takes its time, and holds up no other.

    A consumer made anew delivers by its own policy from the beginning: handlers must ignore what they know already.
    """
    await together(*(_keep(subscriber, interval_s) for subscriber in subscribers))


async def _keep(subscriber: PullStreamSubscriber, interval_s: float) -> None:
    while True:
        await asyncio.sleep(interval_s)
        try:
            await _check(subscriber)
        except (NatsError, OSError) as error:  # the server is away: ask again later
            log.debug("consumer not checked", error=repr(error))


async def _check(subscriber: PullStreamSubscriber) -> None:
    if subscriber.subscription is not None:
        fault = await _fault(subscriber)
        if not fault:
            return
        log.warning("subscribing anew", stream=subscriber.stream.name, fault=fault)
        await subscriber.stop()
    await subscriber.start()


async def _fault(subscriber: PullStreamSubscriber) -> str:
    """Return what is wrong with a consumer, nothing if it answers; raise if that cannot be known.

    One that keeps silent, asked twice, is on a server that is away, and will not move. A durable one has copies, one of
    which takes over.
    """
    for _ in range(2):
        try:
            async with asyncio.timeout(ANSWER_S):
                await _info(subscriber)
        except NotFoundError:
            return "the server forgot the consumer"
        except TimeoutError:
            if subscriber.config.durable_name or not subscriber.connection.is_connected:
                raise
        else:
            return ""
    return "the consumer does not answer"


async def caught_up(subscriber: PullStreamSubscriber) -> None:
    """Wait until a subscriber has acknowledged everything that was in its stream when it subscribed."""
    while True:
        try:
            info = await _info(subscriber)
            if info is not None and not info.num_pending and not info.num_ack_pending:
                return
        except (NatsError, OSError) as error:  # the server is away, or `keep_alive` is about to subscribe anew
            log.debug("consumer not checked", error=repr(error))
        await asyncio.sleep(POLL_S)


async def read_again(subscriber: PullStreamSubscriber) -> None:
    """Have the server forget a subscriber's consumer: `keep_alive` subscribes anew, and what is last comes again."""
    with suppress(NotFoundError):
        if (info := await _info(subscriber)) is not None:
            await subscriber.jetstream.delete_consumer(info.stream_name, info.name)


async def _info(subscriber: PullStreamSubscriber) -> ConsumerInfo | None:
    """Return what the server knows of a subscriber's consumer, None while it has none."""
    subscription = subscriber.subscription
    if subscription is None:
        return None
    info: ConsumerInfo = await subscription.consumer_info()
    return info
