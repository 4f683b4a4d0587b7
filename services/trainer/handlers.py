"""Messages in: train requests from the work queue, one at a time, and cancels to every trainer."""

from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, NatsRouter, PullSub
from nats.js.api import ConsumerConfig

from services.trainer.children import Children
from services.trainer.requests import Request, Requests
from shared.delivery import ACK_WAIT_S, Acknowledge, acknowledging, source_event, subject
from shared.errors import EventError
from shared.events import Stream, TrainCancelled, TrainRequested, model_name

FETCH_S = 5.0


def subscribe(broker: NatsBroker, requests: Requests, children: Children) -> None:
    """Subscribe the trainer; more trainers share the queue."""

    async def on_malformed(msg: NatsMessage, error: str) -> None:
        field = ""
        try:
            TrainRequested.parse(msg.raw_message.data)
        except EventError as found:
            error, field = str(found), found.field
        await requests.malformed(source_event(msg), model_name(subject(msg)), error, field)

    work = NatsRouter(middlewares=[acknowledging(on_malformed)])
    work_queue = work.subscriber(
        TrainRequested.all_subjects(),
        stream=JStream(Stream.TRAINING, declare=False),
        durable="trainer",
        pull_sub=PullSub(batch_size=1, timeout=FETCH_S),
        config=ConsumerConfig(ack_wait=ACK_WAIT_S),
        ack_policy=AckPolicy.MANUAL,
        title=TrainRequested.type,
    )
    cancelling = NatsRouter(middlewares=[Acknowledge])
    cancels = cancelling.subscriber(
        TrainCancelled.all_subjects(),
        stream=JStream(Stream.LIFECYCLE, declare=False),
        durable="trainer-cancels",
        pull_sub=PullSub(batch_size=1, timeout=FETCH_S),
        config=ConsumerConfig(ack_wait=ACK_WAIT_S),
        ack_policy=AckPolicy.MANUAL,
        title=TrainCancelled.type,
    )
    # A broadcast: whichever trainer is at work on the request hears it here, live.
    cancels_now = broker.subscriber(TrainCancelled.all_subjects(), title=f"{TrainCancelled.type} (live)")

    @work_queue
    async def on_train_requested(event: TrainRequested, msg: NatsMessage) -> None:
        """Train, register a version, store its bundle."""
        identity = event.request_id or source_event(msg)
        await requests.settle(Request(identity, model_name(subject(msg)), event))

    @cancels
    async def on_train_cancelled(event: TrainCancelled, msg: NatsMessage) -> None:
        """Remember the cancel, so that a request that comes later does not start."""
        message = f"cancelled by {event.actor}" + (f": {event.reason}" if event.reason else "")
        await requests.cancel(event.request_id, model_name(subject(msg)), message)

    @cancels_now
    async def on_train_cancelled_now(event: TrainCancelled) -> None:
        """Stop the training at once if it runs here."""
        children.cancel(event.request_id)

    broker.include_routers(work, cancelling)
