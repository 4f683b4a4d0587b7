"""Quiet: waiting until everything that was asked for has been done, and saying what is missing if that never comes."""

import asyncio
import time

import httpx
import psycopg2
from nats.errors import Error as NatsError

from shared.bus import NatsBus
from shared.event import Stream
from tests.chaos import checks
from tests.chaos.evidence import Evidence
from tests.chaos.journal import Journal
from tests.chaos.reading import gathered
from tests.chaos.stack import WORKERS, Stack
from tests.chaos.witness import rows

POLL_S = 1.0
CALM_POLLS = 3  # in a row: what is between two steps at one look is seen at the next
UNPUBLISHED = "SELECT model, count(*) AS changes FROM baton.promotions WHERE published_at IS NULL GROUP BY model"
LATEST_LOOK = (psycopg2.Error, NatsError, OSError, httpx.HTTPError, ValueError, KeyError)


async def quiet(stack: Stack, bus: NatsBus, asked: Evidence, journal: Journal, deadline_s: float) -> list[str]:
    """Wait until nothing is missing any more; return what still was when the deadline passed."""
    ends, calm, missing, before = time.monotonic() + deadline_s, 0, ["not looked yet"], [""]
    while calm < CALM_POLLS and time.monotonic() < ends:
        try:
            missing = await _missing(stack, bus, asked)
        except LATEST_LOOK as error:
            missing = [f"evidence cannot be read: {error!r}"]
        if missing != before:
            journal.note(f"== missing: {'; '.join(missing) or 'nothing'}")
        calm, before = 0 if missing else calm + 1, missing
        await asyncio.sleep(POLL_S)
    return missing


async def _missing(stack: Stack, bus: NatsBus, asked: Evidence) -> list[str]:
    parts = [f"{child.name}: {fault}" for child in stack.children if (fault := await child.check())]
    if parts:
        return parts
    return await _unread(bus) + await _undone(stack, bus, asked)


async def _unread(bus: NatsBus) -> list[str]:
    """Return the messages that a service has not finished with."""
    queues = [(await bus.js.stream_info(stream)) for stream in (Stream.TRAINING, Stream.COMMANDS)]
    unread = {str(queue.config.name): queue.state.messages for queue in queues}
    for consumer in await bus.js.consumers_info(Stream.LIFECYCLE):
        if consumer.config.durable_name:
            unread[consumer.name] = (consumer.num_pending or 0) + (consumer.num_ack_pending or 0)
    return [f"{count} messages for {reader} are not done with" for reader, count in unread.items() if count]


async def _undone(stack: Stack, bus: NatsBus, asked: Evidence) -> list[str]:
    """Return what is not done, of what gets done without a message."""
    unpublished = await asyncio.to_thread(rows, stack.database, UNPUBLISHED)
    if unpublished:
        return [f"{row['changes']} changes of {row['model']} are not published" for row in unpublished]
    evidence = await gathered(asked, stack.database, bus.js, stack.predictors, WORKERS)
    late = [checks.each_request_ends_once, checks.predictors_serve_champions, checks.stages_agree]
    expected = WORKERS * len(stack.predictors)
    if len(evidence.serving) < expected:
        return [f"{len(evidence.serving)} of {expected} workers answer"]
    return [violation for check in late for violation in check(evidence)]
