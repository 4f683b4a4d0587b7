"""Messages in: each handler hands its event on; acknowledging is the middleware's business."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from faststream import AckPolicy, Context
from faststream.nats import JStream, NatsMessage, NatsRouter, PullSub
from faststream.nats.subscriber.usecases import PullStreamSubscriber
from nats.js.api import ConsumerConfig

from services.promoter.cases import PROMOTER, case_of_malformed, case_of_request, case_of_run
from services.promoter.fleet import Fleet
from services.promoter.promotion import Promoter
from services.promoter.reports import Reports
from shared.delivery import ACK_WAIT_S, OWN_INBOX, Acknowledge, deliveries, is_of, overhear, source_event, subject
from shared.errors import EventError
from shared.event import Event, Stream, model_name
from shared.events import ModelRejected, ModelServing, PredictorAlive, PromotionRequested, RunFinished

ATTEMPTS = 5  # how often a comparison is tried while what it needs might still appear

Handler = Callable[..., Awaitable[None]]
Subscription = tuple[Handler, type[Event], str]  # what is overheard, and on which subject

Asked = Annotated[Promoter, Context("promoter")]
Told = Annotated[Reports, Context("reports")]
Known = Annotated[Fleet, Context("fleet")]


async def on_run_finished(event: RunFinished, msg: NatsMessage, promoter: Asked) -> None:
    """Judge the version of a finished run against the champion, and promote it if it is better."""
    model = model_name(subject(msg))
    await promoter.settle(case_of_run(source_event(msg), model, event, final=deliveries(msg) >= ATTEMPTS))


async def on_promotion_requested(event: PromotionRequested, msg: NatsMessage, promoter: Asked) -> None:
    """Do what was asked for: promote, approve, roll back, unfreeze."""
    model = model_name(subject(msg))
    await promoter.settle(case_of_request(source_event(msg), model, event, final=deliveries(msg) >= ATTEMPTS))


async def on_serving_reported(event: ModelServing, msg: NatsMessage, reports: Told) -> None:
    """Keep what predictors serve."""
    await reports.serving(model_name(subject(msg)), event)


async def on_rejection_reported(event: ModelRejected, msg: NatsMessage, reports: Told) -> None:
    """Keep what predictors reject, and take back a promotion that speaks against its bundle."""
    await reports.rejected(model_name(subject(msg)), event)


async def on_model_serving(event: ModelServing, msg: NatsMessage, fleet: Known) -> None:
    """Note which worker serves which version."""
    fleet.serving(model_name(subject(msg)), event)


async def on_model_rejected(event: ModelRejected, msg: NatsMessage, fleet: Known) -> None:
    """Note which worker could not serve which version."""
    if event.predictor != PROMOTER:
        fleet.rejected(model_name(subject(msg)), event)


async def on_predictor_alive(event: PredictorAlive, fleet: Known) -> None:
    """Note what a worker says it serves."""
    fleet.alive(event)


class AnswerCommands(Acknowledge):
    """Refuses a command that cannot be read, where an event would be dropped: somebody waits for its decision."""

    async def on_malformed(self, msg: NatsMessage, error: EventError) -> None:
        """Decide on a malformed command."""
        promoter: Promoter = self.context.get("promoter")
        await promoter.settle(case_of_malformed(source_event(msg), model_name(subject(msg)), error))


def event_router() -> NatsRouter:
    """Return the subscriptions to facts in streams: durable, one at a time, acknowledged when done."""
    router = NatsRouter(middlewares=[Acknowledge])
    _subscribe(router, RunFinished.all_subjects(), Stream.LIFECYCLE, PROMOTER, title=RunFinished.type)(on_run_finished)
    # One consumer for both, because only together they are in order: what has served can be gone back to.
    title = f"{ModelServing.type}, {ModelRejected.type}"
    reports = _subscribe(router, "model.*.*", Stream.LIFECYCLE, f"{PROMOTER}-reports", title=title)
    reports(on_serving_reported, filter=is_of(ModelServing))
    reports(on_rejection_reported, filter=is_of(ModelRejected))
    return router


def command_router() -> NatsRouter:
    """Return the subscription to commands: each is answered with a decision, then acknowledged."""
    router, requested = NatsRouter(middlewares=[AnswerCommands]), PromotionRequested
    _subscribe(router, requested.all_subjects(), Stream.COMMANDS, PROMOTER, title=requested.type)(
        on_promotion_requested
    )
    return router


def _subscribe(router: NatsRouter, address: str, stream: Stream, durable: str, *, title: str) -> PullStreamSubscriber:
    return router.subscriber(
        address,
        stream=JStream(stream, declare=False),
        durable=durable,
        pull_sub=PullSub(timeout=5.0),
        inbox_prefix=OWN_INBOX,
        config=ConsumerConfig(ack_wait=ACK_WAIT_S),
        ack_policy=AckPolicy.MANUAL,
        title=title,
    )


def fleet_router() -> NatsRouter:
    """Return the subscriptions behind the fleet's view: core messages, for a view needs no delivery guarantee."""
    router = NatsRouter()
    subscriptions: tuple[Subscription, ...] = (
        (on_model_serving, ModelServing, ModelServing.all_subjects()),
        (on_model_rejected, ModelRejected, ModelRejected.all_subjects()),
        (on_predictor_alive, PredictorAlive, PredictorAlive.type),
    )
    for handler, event, address in subscriptions:
        overhear(router, address, handler, title=event.type, include_in_schema=event.stream is None)  # described above
    return router
