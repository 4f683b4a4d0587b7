"""Changes of champions as they pass: plain NATS, since FastStream takes longer over a message than a swap takes."""

from nats.aio.client import Client
from nats.aio.msg import Msg

from services.predictor.follower import Follower
from shared.errors import EventError
from shared.events import ModelPromoted, ModelWithdrawn, parse
from shared.telemetry import logger

log = logger(__name__)


async def overhear_champions(client: Client, follower: Follower) -> None:
    """Follow what passes from now on, at most once; the stream has all of it, a moment later and in order.

    The registry has committed a change by the time that it passes, and generations say what is news.
    """

    async def hear(message: Msg) -> None:
        try:
            model, change = parse(message.subject, message.data)
            if isinstance(change, ModelPromoted | ModelWithdrawn):
                follower.follow(model, change)
        except EventError as error:
            log.debug("malformed, as who reads the stream says, too", subject=message.subject, error=str(error))
        except Exception:  # nobody else would say so
            log.exception("a change that was overheard was not followed at once", subject=message.subject)

    for kind in (ModelPromoted, ModelWithdrawn):
        await client.subscribe(kind.all_subjects(), cb=hear)
    await client.flush()  # the server knows
