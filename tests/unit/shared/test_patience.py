"""Patience: what is asked again while servers come and go, and what is an answer."""

import asyncio
from contextlib import suppress

import pytest
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.errors import APIError, BadRequestError, NotFoundError, ServerError, ServiceUnavailableError

from shared.errors import UnreachableError
from shared.patience import passes, patiently

AWAY = [
    NatsTimeoutError(),
    NoRespondersError(),
    ConnectionRefusedError(),
    ServiceUnavailableError(code=503, err_code=10008),
    ServerError(code=500, err_code=10118),  # the stream is offline
    APIError(code=409, err_code=10158),  # the same message is on its way
]
ANSWERS = [NotFoundError(code=404), BadRequestError(code=400, err_code=10071), APIError(code=409, err_code=1)]


@pytest.mark.parametrize("error", AWAY, ids=repr)
async def test_who_is_away_is_asked_again(error: Exception) -> None:
    failures = [error, error]

    async def attempt() -> str:
        if failures:
            raise failures.pop()
        return "answer"

    assert await patiently(attempt, "nothing") == "answer"


@pytest.mark.parametrize("error", ANSWERS, ids=repr)
async def test_an_answer_is_not_asked_for_again(error: Exception) -> None:
    async def attempt() -> None:
        raise error

    assert not passes(error)
    with pytest.raises(type(error)):
        await patiently(attempt, "nothing")


async def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.patience.PATIENCE_S", 0.3)

    async def attempt() -> None:
        raise NoRespondersError

    with pytest.raises(UnreachableError, match="the event could not be stored: NATS did not answer"):
        await patiently(attempt, "the event could not be stored")


async def test_patience_ends_also_where_its_cancel_is_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.patience.PATIENCE_S", 0.05)

    async def attempt() -> None:
        with suppress(asyncio.CancelledError):  # as `asyncio.wait_for` does where the answer comes at that moment
            await asyncio.sleep(60)
        raise NoRespondersError

    async with asyncio.timeout(10):
        with pytest.raises(UnreachableError, match="did not answer"):
            await patiently(attempt, "nothing")
