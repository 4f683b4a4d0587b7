"""Messages in: changes of champions go to the follower, finished runs to the challengers."""

from functools import partial

from faststream import AckPolicy, Depends
from faststream.nats import JStream, NatsBroker, NatsRouter, PullSub
from faststream.nats.subscriber.usecases import PullStreamSubscriber
from nats.js.api import ConsumerConfig, DeliverPolicy

from services.predictor.challengers import Challengers
from services.predictor.courtesy import GiveWay, Pace
from services.predictor.follower import Follower
from services.predictor.overheard import OnlyNews, Overheard
from services.predictor.slot import Slots
from shared.consumers import read_again
from shared.delivery import OWN_INBOX, Acknowledge, is_of, overhear, subject
from shared.errors import BundleError
from shared.event import Stream, model_name
from shared.events import ChampionWanted, ModelPromoted, ModelWithdrawn, RunFinished
from shared.telemetry import logger

FORGET_AFTER_S = 30.0
FETCH_S = 5.0

log = logger(__name__)


def subscribe(
    broker: NatsBroker, follower: Follower, challengers: Challengers, *, slots: Slots, overheard: Overheard
) -> PullStreamSubscriber:
    """Subscribe a worker to champions (the last change of each model first) and to finished runs (from now on).

    Return the subscription to champions: a worker is ready when it has caught up with these.

    Both consumers are the worker's own, and the server forgets them when it is gone. Champions are one consumer for
    both of their subjects, because only together they are in order. A change is acknowledged when the follower took
    note of it: who dies before it was applied hears of it again at the next start.

    Changes are also overheard as they pass (`overheard.py`), which is sooner than the stream has them on its disk.
    """
    broker.add_middleware(partial(GiveWay, Pace()))
    router = NatsRouter(middlewares=[partial(OnlyNews, overheard), Acknowledge])
    champions = router.subscriber(
        "model.*.*",
        stream=JStream(Stream.CHAMPIONS, declare=False),
        pull_sub=PullSub(batch_size=1, timeout=FETCH_S),
        inbox_prefix=OWN_INBOX,
        config=_consumer(DeliverPolicy.LAST_PER_SUBJECT),
        ack_policy=AckPolicy.MANUAL,
        title="model.promoted, model.withdrawn",
    )
    runs = router.subscriber(
        RunFinished.all_subjects(),
        stream=JStream(Stream.LIFECYCLE, declare=False),
        pull_sub=PullSub(batch_size=1, timeout=FETCH_S),
        inbox_prefix=OWN_INBOX,
        config=_consumer(DeliverPolicy.NEW),
        ack_policy=AckPolicy.MANUAL,
        title=RunFinished.type,
    )

    async def named() -> str:
        return model_name(subject(broker.context.get("message")))

    # Not a parameter of type `NatsMessage`: FastStream has a thread fetch that, and a busy worker waits for its turn.
    of_subject = Depends(named)

    # The subject tells the two facts apart: a malformed promotion must not be taken for a withdrawal.
    @champions(filter=is_of(ModelPromoted))
    async def on_promoted(event: ModelPromoted, model: str = of_subject) -> None:
        """Serve the new champion of a model."""
        follower.follow(model, event)

    @champions(filter=is_of(ModelWithdrawn))
    async def on_withdrawn(event: ModelWithdrawn, model: str = of_subject) -> None:
        """Serve nothing for a model."""
        follower.follow(model, event)

    @runs
    async def on_run_finished(event: RunFinished, model: str = of_subject) -> None:
        """Fetch and verify a challenger before it is promoted; one that fails is rejected when it is promoted."""
        challengers.begin(prefetch(model, event, challengers, slots))

    async def on_champion_wanted(event: ChampionWanted, model: str = of_subject) -> None:
        """Read the champions again if this worker missed one."""
        if not follower.knows(model, event.ledger, event.generation):
            log.warning("a change of a champion was missed: reading again", model=model, generation=event.generation)
            await read_again(champions)

    broker.include_router(router)
    overhear(broker, ChampionWanted.all_subjects(), on_champion_wanted, title=ChampionWanted.type)
    return champions


async def prefetch(model: str, run: RunFinished, challengers: Challengers, slots: Slots) -> None:
    """Have a challenger at hand, if its model is served here, and loaded without being asked for."""
    if not slots.serves(model) or slots.of(model).is_lazy:
        return
    try:
        await challengers.prefetch(model, run.bundle)
    except BundleError as error:
        log.warning("challenger not prefetched", model=model, version=run.version, error=str(error))
    except Exception:  # nobody waits for it who would say so
        log.exception("challenger not prefetched", model=model, version=run.version)
    else:
        log.info("challenger prefetched", model=model, version=run.version)


def _consumer(policy: DeliverPolicy) -> ConsumerConfig:
    return ConsumerConfig(deliver_policy=policy, inactive_threshold=FORGET_AFTER_S)
