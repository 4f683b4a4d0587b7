"""Following a command: where that begins is asked of a bus that may have to agree first on who knows."""

from types import SimpleNamespace
from typing import Any

from nats.errors import TimeoutError as NatsTimeoutError

from cli.following import newest


class Agreeing:
    """A bus whose servers do not know yet who leads a stream: nobody answers the first question."""

    def __init__(self) -> None:
        self.js = self
        self.questions = 0

    async def stream_info(self, _: str) -> Any:
        self.questions += 1
        if self.questions == 1:
            raise NatsTimeoutError
        return SimpleNamespace(state=SimpleNamespace(last_seq=7))


async def test_who_does_not_answer_at_once_is_asked_again() -> None:
    bus: Any = Agreeing()
    assert await newest(bus) == 7
    assert bus.questions == 2
