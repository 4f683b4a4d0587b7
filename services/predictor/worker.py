"""One worker: its parts, and the order in which they come up and go down."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain, repeat
from typing import Literal

from faststream.nats.subscriber.usecases import PullStreamSubscriber
from nats.errors import Error as NatsError

from services.predictor import seats
from services.predictor.cache import Cache
from services.predictor.challengers import Challengers
from services.predictor.executor import Executor
from services.predictor.follower import Follower
from services.predictor.gate import Gate
from services.predictor.handlers import subscribe
from services.predictor.heartbeat import beat
from services.predictor.loader import Loader
from services.predictor.meters import Meters
from services.predictor.overheard import Overheard
from services.predictor.reporter import Reporter
from services.predictor.settings import PredictorSettings
from services.predictor.slot import Slots
from services.predictor.status import Status
from services.predictor.verifier import Verifier
from shared.bus import NatsBus
from shared.consumers import caught_up, keep_alive
from shared.errors import ForbiddenError, UnreachableError
from shared.events import ModelRejected, ModelServing, PredictorAlive
from shared.memory import exempt_loaded
from shared.service import document_publishes, end_on_failure, make_broker, start_broker, stop_broker
from shared.streams import prepare
from shared.tasks import end, together
from shared.telemetry import logger
from shared.verification import verify

YOUNG = 20_000  # new objects before a collection looks at them: those of a request are no cycles, and gone by then
SWITCH_S = 0.0005  # a verifying thread that runs holds up a request so long at most; Python's own is ten times that
FIRST_ATTEMPT_S, ATTEMPT_S = 1.0, 5.0  # a NATS that is there answers at once; who waits for it may be served meanwhile

log = logger(__name__)


class Worker:
    """The composition of one worker; `running` brings it up."""

    def __init__(self, settings: PredictorSettings) -> None:
        self.settings = settings
        self.slots = Slots(settings.default_model, settings.models, are_lazy=settings.loading == "lazy")
        self.executor = Executor(settings.max_batch_rows, max_waiting=max(1, settings.max_requests // 4))
        self.gate = Gate(settings.max_requests)
        self.meters = Meters()
        self.broker = make_broker(settings, "predictor")
        self._bus = NatsBus(settings, "predictor")
        self._cache = Cache(
            settings.cache_dir,
            Verifier(settings.verify_deadline_s, partial(verify, allow_pyfunc=settings.allow_pyfunc)),
            self.meters,
            max_bytes=settings.cache_mb * 1_000_000,
        )
        self._reporter = Reporter(self._bus, self.meters, settings)
        challengers = Challengers(self._cache, self._bus, settings.kept_models)
        self._follower = Follower(self._cache, challengers, self.slots, self._reporter)
        self.load = Loader(self._follower, challengers, self.slots, settings.loaded_models).load
        self._overheard = Overheard(self._follower)
        self._champions = subscribe(
            self.broker, self._follower, challengers, slots=self.slots, overheard=self._overheard
        )
        document_publishes(self.broker, [ModelServing, ModelRejected, PredictorAlive])
        self._seat: seats.Seat | None = None
        self._link: Literal["connecting", "connected", "unreachable"] = "connecting"

    def status(self) -> Status:
        """Return how this worker is."""
        seat = self._seat
        bus = self._link if self._link != "connected" or self._bus.client.is_connected else "unreachable"
        return Status(
            worker=seat.index if seat else 0,
            count_ready=partial(seats.ready_workers, self.settings.cache_dir / "workers", seat) if seat else lambda: 0,
            workers_expected=self.settings.workers,
            ready=seat is not None and seat.ready and not self.gate.is_draining,
            bus=bus,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take a seat, serve what the cache remembers, follow the bus in the background; undo it all afterwards."""
        seats.end_with_parent()
        sys.setswitchinterval(SWITCH_S)
        await asyncio.to_thread(self._cache.prepare)
        self._seat = seat = await asyncio.to_thread(
            seats.take_seat, self.settings.cache_dir / "workers", self.settings.workers
        )
        self._reporter.worker = seat.index
        await self._follower.restore()
        following = asyncio.create_task(self._follow(seat))
        following.add_done_callback(end_on_failure)
        try:
            yield
        finally:
            await end([following])
            await stop_broker(self.broker)
            await self._follower.stop()
            await self._bus.close()
            self.executor.close()
            seat.leave()

    async def _follow(self, seat: seats.Seat) -> None:
        await self._connect(seat)
        pulling = [found for found in self.broker.subscribers if isinstance(found, PullStreamSubscriber)]
        await together(
            keep_alive(pulling),
            self._reporter.run(),
            beat(self._bus, self.slots, self.settings, seat.index),
            self._catch_up(seat),
        )

    async def _catch_up(self, seat: seats.Seat) -> None:
        """Say that this worker is ready once it has applied what the bus holds."""
        await caught_up(self._champions)
        await self._follower.settled()
        _say_ready(seat)
        self._link = "connected"
        log.info("following", worker=seat.index, served=self.slots.served)

    async def _connect(self, seat: seats.Seat) -> None:
        """Connect and subscribe, however long it takes; what the cache remembered is served meanwhile."""
        for deadline_s in chain([FIRST_ATTEMPT_S], repeat(ATTEMPT_S)):
            if await self._connected_within(deadline_s):
                return
            self._link = "unreachable"
            if self.slots.served:
                _say_ready(seat)
            await asyncio.sleep(1)

    async def _connected_within(self, deadline_s: float) -> bool:
        try:
            await self._bus.open(deadline_s)
            await prepare(self._bus.js, self.settings)
            await self._overheard.listen(self._bus.client)
            await start_broker(self.broker)
        except (UnreachableError, ForbiddenError, NatsError, OSError) as error:
            if isinstance(error, ForbiddenError) and not self.slots.served:
                raise  # nothing is lost by saying so at once; who serves from the cache goes on
            log.warning("NATS does not answer", error=str(error))
            await self._bus.close()
            return False
        return True


def _say_ready(seat: seats.Seat) -> None:
    if not seat.ready:
        exempt_loaded()
        gc.set_threshold(YOUNG)
        seat.say_ready()
