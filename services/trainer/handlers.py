"""Messages in: train requests from the work queue, and cancels to every trainer."""

import time

from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, NatsRouter, PullSub
from nats.js.api import ConsumerConfig

from services.trainer.children import Children
from services.trainer.meters import Meters
from services.trainer.requests import Request, Requests, readable_id, reason_of
from shared.delivery import ACK_WAIT_S, OWN_INBOX, Acknowledge, acknowledging, as_key, overhear, source_event, subject
from shared.errors import EventError
from shared.event import Stream, model_name
from shared.events import TrainCancelled, TrainRequested
from shared.tracing import tracing

FETCH_S = 5.0
QUEUE = "trainer"  # the consumer that all trainers share


def subscribe(broker: NatsBroker, requests: Requests, children: Children, concurrency: int, *, meters: Meters) -> None:
    """Subscribe the trainer; more trainers share the queue."""
    _subscribe_to_requests(broker, requests, concurrency, meters)
    _subscribe_to_cancels(broker, requests, children)


def _subscribe_to_requests(broker: NatsBroker, requests: Requests, concurrency: int, meters: Meters) -> None:
    async def on_malformed(msg: NatsMessage, error: EventError) -> None:
        identity = readable_id(msg.raw_message.data) or as_key(source_event(msg))
        await requests.malformed(identity, model_name(subject(msg)), error)

    async def on_train_requested(event: TrainRequested, msg: NatsMessage) -> None:
        """Train, register a version, store its bundle."""
        identity = event.request_id or as_key(source_event(msg))
        started, model = time.time(), model_name(subject(msg))
        with meters.attempt() as ended:
            outcome = await requests.settle(Request(identity, model, event))
            ended(outcome)
        if outcome is not None:
            tracing.record("train", identity, started, model=model, outcome=outcome.type)

    router = NatsRouter(middlewares=[acknowledging(on_malformed)])
    for place in range(concurrency):  # each fetches its next message when it is free, and not before
        router.subscriber(
            TrainRequested.all_subjects(),
            stream=JStream(Stream.TRAINING, declare=False),
            durable=QUEUE,
            pull_sub=PullSub(batch_size=1, timeout=FETCH_S),
            inbox_prefix=OWN_INBOX,
            config=ConsumerConfig(ack_wait=ACK_WAIT_S),
            ack_policy=AckPolicy.MANUAL,
            title=TrainRequested.type,
            include_in_schema=place == 0,
        )(on_train_requested)
    broker.include_router(router)


def _subscribe_to_cancels(broker: NatsBroker, requests: Requests, children: Children) -> None:
    async def on_train_cancelled(event: TrainCancelled) -> None:
        """Remember the cancel, so that the request does not start, and does not end with a version if it has."""
        await requests.cancel(event)

    async def on_train_cancelled_now(event: TrainCancelled) -> None:
        """Stop the training at once if it runs here."""
        children.cancel(event.request_id, reason_of(event))

    router = NatsRouter(middlewares=[Acknowledge])
    router.subscriber(
        TrainCancelled.all_subjects(),
        stream=JStream(Stream.LIFECYCLE, declare=False),
        durable="trainer-cancels",
        pull_sub=PullSub(batch_size=1, timeout=FETCH_S),
        inbox_prefix=OWN_INBOX,
        config=ConsumerConfig(ack_wait=ACK_WAIT_S),
        ack_policy=AckPolicy.MANUAL,
        title=TrainCancelled.type,
    )(on_train_cancelled)
    broker.include_router(router)
    # The same message live, to every trainer: whoever is at work on the request stops. One who misses it notices later.
    overhear(broker, TrainCancelled.all_subjects(), on_train_cancelled_now, include_in_schema=False)
