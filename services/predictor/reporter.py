"""The reporter: tells logs, metrics and the bus what came of a promotion, in order, and holds up no swap.

It rests before it tells them: whoever asked during the swap, or another worker's, is to be answered first.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from nats.errors import Error as NatsError

from services.predictor.courtesy import REST_S, rest
from services.predictor.meters import Meters
from services.predictor.settings import PredictorSettings
from services.predictor.slot import Champion
from shared.bus import Bus, no_pause
from shared.errors import BatonError, BundleError
from shared.events import ModelPromoted, ModelRejected, ModelServing, ModelWithdrawn
from shared.telemetry import logger
from shared.tracing import tracing

APART = 0.5  # of a rest: so far from the steps of the stream's copy
LONGEST_MESSAGE = 2_000  # what a library says of a model may be as long as the model

Report = ModelServing | ModelRejected

log = logger(__name__)


class Reporter:
    """Notes what is served and rejected, and queues a report; `run` publishes them. `worker` is our index."""

    def __init__(self, bus: Bus, meters: Meters, settings: PredictorSettings) -> None:
        self.worker = 0
        self._meters = meters
        self._bus = bus
        self._predictor = settings.instance
        self._queue: asyncio.Queue[tuple[str, Report]] = asyncio.Queue()

    def serving(self, promoted: ModelPromoted, champion: Champion, *, prefetched: bool, swap_ms: float | None) -> None:
        """Say that requests are answered by a champion from now on.

        `swap_ms` is None where nothing was swapped: after a restart, and for whoever asked first.
        """
        self._soon(
            partial(self._count_serving, promoted, champion, prefetched=prefetched, swap_ms=swap_ms),
            partial(self._log_serving, promoted, champion),
            partial(self._report_serving, promoted, champion, prefetched=prefetched, swap_ms=swap_ms),
        )

    def rejected(self, promoted: ModelPromoted, model: str, error: BundleError) -> None:
        """Say why a version is not served; whatever was served before goes on."""
        self._soon(
            partial(self._meters.rejected, error.check),
            partial(self._log_rejected, promoted, model, error),
            partial(self._report_rejected, promoted, model, error),
        )

    def known(self, model: str, promoted: ModelPromoted) -> None:
        """Note that a champion is loaded as soon as somebody asks for it."""
        self._soon(partial(self._meters.applied, model, promoted.generation))
        log.info("known", model=model, version=promoted.version, generation=promoted.generation)

    def withdrawn(self, model: str, change: ModelWithdrawn) -> None:
        """Note that nothing is served of a model."""
        self._soon(partial(self._meters.applied, model, change.generation))

    async def run(self) -> None:
        """Publish for ever; a report that nobody takes for a minute is given up, the heartbeat says the same."""
        while True:
            is_one_of_many = not self._queue.empty()
            model, report = await self._queue.get()
            pause = no_pause if is_one_of_many else rest
            await pause()
            try:
                await self._bus.publish(report, model, event_id=self._event_id(model, report), pause=pause)
            except (BatonError, NatsError) as error:
                log.warning("report given up", type=report.type, model=model, error=str(error))

    def _soon(self, *steps: Callable[[], None]) -> None:
        """Do something in steps, with a rest before each: of two changes what comes first is said first.

        They come between the steps that the stream's copy of the change takes (`GiveWay`), which mostly comes at once.
        """
        loop = asyncio.get_running_loop()
        for number, step in enumerate(steps, start=1):
            loop.call_later((number + APART) * REST_S, step)

    def _count_serving(
        self, promoted: ModelPromoted, champion: Champion, *, prefetched: bool, swap_ms: float | None
    ) -> None:
        if swap_ms is not None:
            self._meters.swapped(champion, promoted, prefetched=prefetched)
            about = self._about(promoted) | {"model": champion.model, "prefetched": prefetched}
            tracing.record("swap", promoted.request_id, promoted.committed_at, champion.since, **about)
        else:
            self._meters.applied(champion.model, champion.generation)

    def _log_serving(self, promoted: ModelPromoted, champion: Champion) -> None:
        delay_ms = round(_delay_ms(promoted, champion), 1)
        log.info("serving", model=champion.model, version=promoted.version, delay_ms=delay_ms)

    def _report_serving(
        self, promoted: ModelPromoted, champion: Champion, *, prefetched: bool, swap_ms: float | None
    ) -> None:
        report = ModelServing(
            **self._about(promoted),
            prefetched=prefetched,
            load_ms=champion.verified.load_ms,
            verify_ms=champion.verified.verify_ms,
            swap_ms=swap_ms or 0.0,
            delay_ms=_delay_ms(promoted, champion),
        )
        self._queue.put_nowait((champion.model, report))

    @staticmethod
    def _log_rejected(promoted: ModelPromoted, model: str, error: BundleError) -> None:
        log.error("rejected", model=model, version=promoted.version, check=error.check, error=str(error))

    def _report_rejected(self, promoted: ModelPromoted, model: str, error: BundleError) -> None:
        report = ModelRejected(**self._about(promoted), check=error.check, message=str(error)[:LONGEST_MESSAGE])
        self._queue.put_nowait((model, report))

    def _about(self, promoted: ModelPromoted) -> dict[str, Any]:
        """Return what both reports say: who, and of which change."""
        change = promoted.model_dump(include={"version", "generation", "ledger"})
        return {"predictor": self._predictor, "worker": self.worker, **change}

    def _event_id(self, model: str, report: Report) -> str:
        """Return the same id for the same report, so that saying it again changes nothing."""
        what = f"{report.type}:{report.check}" if isinstance(report, ModelRejected) else report.type
        return f"{self._predictor}:{self.worker}:{what}:{report.ledger}:{model}:{report.generation}"


def _delay_ms(promoted: ModelPromoted, champion: Champion) -> float:
    return (champion.since - promoted.committed_at).total_seconds() * 1e3
