"""Messages in: each handler hands its event on; acknowledging is the middleware's business."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, cast

from fast_depends.exceptions import ValidationError
from faststream import AckPolicy, BaseMiddleware, Context
from faststream.message import StreamMessage
from faststream.nats import JStream, NatsMessage, NatsRouter, PullSub
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig

from services.promoter.fleet import Fleet
from services.promoter.promotion import PROMOTER, Promoter, case_of_request, case_of_run
from shared import cloudevents
from shared.errors import BatonError
from shared.events import (
    Event,
    ModelRejected,
    ModelServing,
    PredictorAlive,
    PromotionRequested,
    RunFinished,
    model_name,
)
from shared.telemetry import logger

ACK_WAIT_S = 15.0  # how soon another promoter takes over from one that died
IN_PROGRESS_S = 5.0
ATTEMPTS = 5  # how often a comparison is tried while what it needs might still appear
LONGEST_DELAY_S = 30.0

log = logger(__name__)


class Acknowledge(BaseMiddleware):
    """Acknowledges what was handled, terminates what is malformed, and has everything else delivered again."""

    async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: StreamMessage[Any]) -> None:
        """Handle one message of a stream."""
        msg = cast("NatsMessage", msg)
        try:
            async with _in_progress(msg):
                await call_next(msg)
        except ValidationError as error:
            log.warning("malformed event is dropped", subject=msg.raw_message.subject, error=str(error.original_error))
            await msg.reject()
        except Exception as error:  # whatever failed: the event must not be lost
            delay = min(2.0 ** deliveries(msg), LONGEST_DELAY_S)
            log.warning(
                "event will be delivered again", subject=msg.raw_message.subject, delay_s=delay, error=str(error),
                exc_info=not isinstance(error, BatonError),
            )  # fmt: skip
            await msg.nack(delay=delay)
        else:
            await msg.ack()


@asynccontextmanager
async def _in_progress(msg: NatsMessage) -> AsyncIterator[None]:
    async def say_so() -> None:
        while True:
            await asyncio.sleep(IN_PROGRESS_S)
            with suppress(NatsError):  # a server that is away: the next one will do
                await msg.in_progress()

    saying = asyncio.create_task(say_so())
    try:
        yield
    finally:
        saying.cancel()


def deliveries(msg: NatsMessage) -> int:
    """Return how often a message was delivered, this time included."""
    return int(msg.raw_message.metadata.num_delivered)


def source_event(msg: NatsMessage) -> str:
    """Return the id of the event, or where it stands in its stream if it was published by hand without one."""
    metadata = msg.raw_message.metadata
    return cloudevents.event_id(msg.raw_message.headers) or f"{metadata.stream}:{metadata.sequence.stream}"


Asked = Annotated[Promoter, Context("promoter")]
Known = Annotated[Fleet, Context("fleet")]


async def on_run_finished(event: RunFinished, msg: NatsMessage, promoter: Asked) -> None:
    """Judge the version of a finished run against the champion, and promote it if it is better."""
    model = model_name(msg.raw_message.subject)
    await promoter.settle(case_of_run(source_event(msg), model, event, final=deliveries(msg) >= ATTEMPTS))


async def on_promotion_requested(event: PromotionRequested, msg: NatsMessage, promoter: Asked) -> None:
    """Promote the version that was asked for."""
    model = model_name(msg.raw_message.subject)
    await promoter.settle(case_of_request(source_event(msg), model, event, final=deliveries(msg) >= ATTEMPTS))


async def on_model_serving(event: ModelServing, msg: NatsMessage, fleet: Known) -> None:
    """Note which worker serves which version."""
    fleet.serving(model_name(msg.raw_message.subject), event)


async def on_model_rejected(event: ModelRejected, msg: NatsMessage, fleet: Known) -> None:
    """Note which worker could not serve which version."""
    if event.predictor != PROMOTER:
        fleet.rejected(model_name(msg.raw_message.subject), event)


async def on_predictor_alive(event: PredictorAlive, fleet: Known) -> None:
    """Note what a worker says it serves."""
    fleet.alive(event)


def work_router() -> NatsRouter:
    """Return the subscriptions to streams: durable, one event at a time, acknowledged when done."""
    router = NatsRouter(middlewares=[Acknowledge])
    for handler, event, durable in (
        (on_run_finished, RunFinished, PROMOTER),
        (on_promotion_requested, PromotionRequested, PROMOTER),
    ):
        router.subscriber(
            event.all_subjects(),
            stream=JStream(str(event.stream), declare=False),
            durable=durable,
            pull_sub=PullSub(timeout=5.0),
            config=ConsumerConfig(ack_wait=ACK_WAIT_S),
            ack_policy=AckPolicy.MANUAL,
            title=event.type,
        )(handler)
    return router


def fleet_router() -> NatsRouter:
    """Return the subscriptions behind the fleet's view: core messages, for a view needs no delivery guarantee."""
    router = NatsRouter()
    subscriptions: tuple[tuple[Callable[..., Awaitable[None]], type[Event], str], ...] = (
        (on_model_serving, ModelServing, ModelServing.all_subjects()),
        (on_model_rejected, ModelRejected, ModelRejected.all_subjects()),
        (on_predictor_alive, PredictorAlive, PredictorAlive.type),
    )
    for handler, event, subject in subscriptions:
        router.subscriber(subject, title=event.type)(handler)
    return router
