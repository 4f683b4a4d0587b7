"""Reading what a stream holds: on from where one stopped, or looking for an event by its id."""

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import suppress

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from shared import cloudevents

FETCH_S = 1.0
RETRY_S = 0.25
FIRST_ANSWER_S, LATEST_ANSWER_S = 1.0, 5.0
FORGET_AFTER_S = 30.0


async def read_on(client: Client, stream: str, subjects: list[str], after: int) -> AsyncGenerator[Msg]:
    """Yield every message on the subjects with a sequence greater than `after`, until the connection is closed.

    The consumer is made anew from the last sequence seen whenever the server lost it, or is lost with it, so nothing
    is missed or repeated. Nobody answers who asks for one as a cluster's leader dies: so it is asked for again soon,
    and less soon each time, for a server may be slow instead.
    """
    js, unanswered = client.jetstream(), 0
    while not client.is_closed:
        answer_s = min(FIRST_ANSWER_S + unanswered * RETRY_S, LATEST_ANSWER_S)
        try:
            info = await js.add_consumer(stream, _config(subjects, after), timeout=answer_s)
            unanswered = 0
            async for message in _consume(js, stream, info.name):
                after = message.metadata.sequence.stream
                yield message
        except (NatsError, OSError) as error:  # the server is away or forgot the consumer: begin again where we were
            unanswered += isinstance(error, NatsTimeoutError)
            await asyncio.sleep(RETRY_S)


def _config(subjects: list[str], after: int) -> ConsumerConfig:
    return ConsumerConfig(
        name=uuid.uuid4().hex,  # then permissions see which consumer is made
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=after + 1,
        filter_subjects=subjects,
        ack_policy=AckPolicy.NONE,
        inactive_threshold=FORGET_AFTER_S,
    )


async def _consume(js: JetStreamContext, stream: str, name: str) -> AsyncGenerator[Msg]:
    consumer = await js.pull_subscribe_bind(name, stream)
    try:
        while True:
            try:
                (message,) = await consumer.fetch(1, timeout=FETCH_S)  # a larger batch would wait to be filled
            except NatsTimeoutError:
                # Raises when the server no longer knows the consumer, or has it and is away.
                await js.consumer_info(stream, name, timeout=FETCH_S)
                continue
            yield message
    finally:
        with suppress(NatsError, OSError):
            await consumer.unsubscribe()


async def sequence_of(js: JetStreamContext, stream: str, subject: str, event_id: str) -> int | None:
    """Return where an event stands in a stream, None if it is not there; reads the subject from its beginning.

    The server itself remembers ids for a while only.
    """
    sequence = 0
    while True:
        try:
            message = await js.get_msg(stream, sequence + 1, subject=subject, next=True)
        except NotFoundError:
            return None
        sequence = message.seq or 0
        if cloudevents.event_id(message.headers) == event_id:
            return sequence
