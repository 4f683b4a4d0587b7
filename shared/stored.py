"""Finding an event in its stream by id: the server itself remembers ids for a while only."""

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from shared import cloudevents


async def sequence_of(js: JetStreamContext, stream: str, subject: str, event_id: str) -> int | None:
    """Return where an event stands in a stream, None if it is not there; reads the subject from its beginning."""
    sequence = 0
    while True:
        try:
            message = await js.get_msg(stream, sequence + 1, subject=subject, next=True)
        except NotFoundError:
            return None
        sequence = message.seq or 0
        if cloudevents.event_id(message.headers) == event_id:
            return sequence
