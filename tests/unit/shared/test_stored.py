"""Reading on from a cluster whose leader has died: nobody answers until the others have agreed on another one."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeoutError

from shared import stored


class Leaderless:
    """A client whose requests are lost until so many seconds have been waited; the one asked for then ends the test."""

    def __init__(self, seconds: float) -> None:
        self.is_closed = False
        self.waited_s: list[float] = []
        self._seconds = seconds

    def jetstream(self) -> Any:
        return SimpleNamespace(add_consumer=self._add_consumer)

    async def _add_consumer(self, _stream: str, _config: object, **options: float) -> None:
        if sum(self.waited_s) >= self._seconds:
            self.is_closed = True
        else:
            self.waited_s.append(options.get("timeout", 5.0))
        raise NatsTimeoutError


async def waits_of(seconds: float, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    async def at_once(_seconds: float) -> None:
        pass

    monkeypatch.setattr(stored, "asyncio", SimpleNamespace(sleep=at_once))
    client = Leaderless(seconds)
    assert [message async for message in stored.read_on(cast("Client", client), "LIFECYCLE", ["run.>"], 0)] == []
    return client.waited_s


async def test_who_asks_while_there_is_no_leader_asks_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds in (2.0, 4.0, 6.0):  # so long the others take to agree
        assert sum(await waits_of(seconds, monkeypatch)) < seconds + 2


async def test_a_server_that_is_slow_is_given_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await waits_of(120, monkeypatch))[-1] == stored.LATEST_ANSWER_S
