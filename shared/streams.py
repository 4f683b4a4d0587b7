"""Streams, object store and key-value bucket, declared in one place and idempotently."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import (
    DiscardPolicy,
    KeyValueConfig,
    ObjectStoreConfig,
    RetentionPolicy,
    StreamConfig,
)
from nats.js.errors import BadRequestError, BucketNotFoundError, NotFoundError

from shared.errors import UnreachableError
from shared.event import Stream
from shared.events import (
    ModelPromoted,
    ModelRejected,
    ModelServing,
    ModelWithdrawn,
    PromotionDecided,
    PromotionRequested,
    TrainCancelled,
    TrainRequested,
)
from shared.settings import BusSettings

MODELS = "MODELS"  # object store: bundles by digest
REQUESTS = "REQUESTS"  # key-value: the state of each train request
BUCKETS = (f"OBJ_{MODELS}", f"KV_{REQUESTS}")  # the streams that they are kept in
ALL = (*Stream, *BUCKETS)
DAY = 24 * 3600.0
MOST_CONSUMERS = 10_000  # each worker of a predictor has its own; NATS allows 1,000 where a stream does not say


def stream_configs(replicas: int) -> list[StreamConfig]:
    """Return the configuration of every stream."""
    return [
        StreamConfig(
            name=Stream.TRAINING,
            description="Train requests, each handed to one trainer",
            subjects=[TrainRequested.all_subjects()],
            retention=RetentionPolicy.WORK_QUEUE,
            discard=DiscardPolicy.NEW,
            duplicate_window=3600.0,
            num_replicas=replicas,
        ),
        StreamConfig(
            name=Stream.COMMANDS,
            description="Requests to promote, durable and never replayed",
            subjects=[PromotionRequested.all_subjects()],
            retention=RetentionPolicy.WORK_QUEUE,
            duplicate_window=3600.0,
            num_replicas=replicas,
        ),
        StreamConfig(
            name=Stream.LIFECYCLE,
            description="What happened to runs, decisions and predictors; 30 days",
            subjects=[
                TrainCancelled.all_subjects(),
                "run.>",
                *(event.all_subjects() for event in (PromotionDecided, ModelServing, ModelRejected)),
            ],
            max_age=30 * DAY,
            duplicate_window=3600.0,
            max_consumers=MOST_CONSUMERS,
            num_replicas=replicas,
        ),
        StreamConfig(
            name=Stream.CHAMPIONS,
            description="Every change of a champion; the last of each subject is replayed to who starts",
            subjects=[ModelPromoted.all_subjects(), ModelWithdrawn.all_subjects()],
            duplicate_window=120.0,
            max_consumers=MOST_CONSUMERS,
            num_replicas=replicas,
            allow_direct=True,
        ),
    ]


async def declare_all(js: JetStreamContext, replicas: int = 1) -> None:
    """Create what does not exist and update what differs; safe to call by every service at once."""
    for config in stream_configs(replicas):
        await _declare_stream(js, config)
    await _declare_buckets(js, replicas)


async def _declare_stream(js: JetStreamContext, config: StreamConfig) -> None:
    try:
        await js.add_stream(config)
    except BadRequestError:  # it exists with another configuration
        await js.update_stream(config)


async def _declare_buckets(js: JetStreamContext, replicas: int) -> None:
    try:
        await js.object_store(MODELS)
    except (BucketNotFoundError, NotFoundError):
        await js.create_object_store(MODELS, ObjectStoreConfig(replicas=replicas))
    try:
        await js.key_value(REQUESTS)
    except (BucketNotFoundError, NotFoundError):
        await js.create_key_value(KeyValueConfig(bucket=REQUESTS, history=1, ttl=30 * DAY, replicas=replicas))
    for bucket in BUCKETS:
        config = (await js.stream_info(bucket)).config
        if config.num_replicas != replicas:
            await js.update_stream(config, num_replicas=replicas)


async def declare_when_reachable(js: JetStreamContext, replicas: int, deadline_s: float = 30.0) -> None:
    """Declare everything, waiting up to `deadline_s` seconds for a JetStream that is still electing or recovering."""
    await _within(deadline_s, partial(declare_all, js, replicas), f"{replicas} copies need as many NATS servers")


async def prepare(js: JetStreamContext, settings: BusSettings, deadline_s: float = 30.0) -> None:
    """Declare everything, or wait for whoever may: with `declare_streams` off, JetStream would refuse this service."""
    if settings.declare_streams:
        await declare_when_reachable(js, settings.replicas, deadline_s)
    else:
        await _within(deadline_s, partial(_check_all, js), "BATON_DECLARE_STREAMS=false leaves them to the promoter")


async def _within(deadline_s: float, attempt: Callable[[], Awaitable[None]], hint: str) -> None:
    """Repeat what fails until the deadline; raise `UnreachableError` with what failed last."""
    last: Exception | None = None
    with suppress(TimeoutError):
        async with asyncio.timeout(deadline_s) as limit:
            while not limit.expired():  # the cancel that ends it may have been swallowed (shared/tasks.py)
                try:
                    return await attempt()
                except (NatsError, OSError) as error:
                    last = error
                await asyncio.sleep(0.25)
    raise UnreachableError(f"the streams were not there within {deadline_s:.0f} s ({last!s}): {hint}") from last


async def _check_all(js: JetStreamContext) -> None:
    for name in ALL:
        await js.stream_info(name)


async def missing(js: JetStreamContext) -> list[str]:
    """Return the streams that JetStream does not have."""
    gone = []
    for name in ALL:
        try:
            await js.stream_info(name)
        except NotFoundError:
            gone.append(name)
    return gone
