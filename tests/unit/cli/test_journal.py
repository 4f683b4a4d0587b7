"""Waiting for something to be said on the bus."""

import asyncio

import pytest

from cli.journal import Journal
from shared.errors import UnreachableError
from shared.events import RunFailed
from shared.follow import Received

EVENT = RunFailed(request_id="r", kind="refused", message="m")


async def test_what_was_said_before_is_found_at_once() -> None:
    journal = Journal("m")
    await journal._note(Received("m", EVENT, 1))
    found = await journal.until(lambda: journal.of(RunFailed) or None, "a failure", deadline_s=1)
    assert found == [EVENT]


async def test_what_is_said_later_wakes_who_waits() -> None:
    journal = Journal("m")
    waiting = asyncio.create_task(journal.until(lambda: journal.of(RunFailed) or None, "a failure", deadline_s=5))
    await asyncio.sleep(0)
    await journal._note(Received("other", EVENT, 1))
    await journal._note(Received("m", EVENT, 2))
    assert await waiting == [EVENT]


async def test_waiting_in_vain_says_for_what() -> None:
    with pytest.raises(UnreachableError, match="the end of the world"):
        await Journal("m").until(lambda: None, "the end of the world", deadline_s=0.01)
