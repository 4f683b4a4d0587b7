"""Which subjects a worker listens to, and how."""

from typing import Any

from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from nats.js.api import ConsumerConfig, DeliverPolicy

from services.predictor.handlers import Handlers
from shared.events import ModelPromoted, ModelWithdrawn, RunFinished, Stream, model_name

FORGET_AFTER_S = 30.0
FETCH_S = 5.0


def subscribe(broker: NatsBroker, handlers: Handlers) -> list[Any]:
    """Subscribe to champions (the last of each model first) and to finished runs (from now on).

    Both consumers are the worker's own and forgotten by the server when it is gone. Champions are one consumer for both
    of their subjects, because only together they are in order.
    """
    champions = broker.subscriber(
        "model.*.*",
        stream=JStream(Stream.CHAMPIONS, declare=False),
        pull_sub=PullSub(batch_size=1, timeout=FETCH_S),
        config=_consumer(DeliverPolicy.LAST_PER_SUBJECT),
        ack_policy=AckPolicy.MANUAL,
        title="model.promoted, model.withdrawn",
    )
    runs = broker.subscriber(
        RunFinished.all_subjects(),
        stream=JStream(Stream.LIFECYCLE, declare=False),
        pull_sub=PullSub(batch_size=1, timeout=FETCH_S),
        config=_consumer(DeliverPolicy.NEW),
        ack_policy=AckPolicy.MANUAL,
        title=RunFinished.type,
    )

    @champions
    async def on_champion(event: ModelPromoted | ModelWithdrawn, msg: NatsMessage) -> None:
        """Serve the new champion of a model, or nothing."""
        await handlers.on_champion(model_name(msg.raw_message.subject), event)
        await msg.ack()

    @runs
    async def on_run_finished(event: RunFinished, msg: NatsMessage) -> None:
        """Fetch and verify a challenger before it is promoted."""
        await handlers.on_run_finished(model_name(msg.raw_message.subject), event)
        await msg.ack()

    return [champions, runs]


def _consumer(policy: DeliverPolicy) -> ConsumerConfig:
    return ConsumerConfig(deliver_policy=policy, inactive_threshold=FORGET_AFTER_S, ack_wait=60.0)
