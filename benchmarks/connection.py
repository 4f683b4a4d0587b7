"""A connection of a load generator: what comes over it is kept as it came, and is read when the load has ended.

What a client needs to read an answer would be counted as the server's, and is longer than what the fastest ones need.
Times are those of `time.monotonic`, which all processes of a machine share.
"""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

END_OF_HEAD = b"\r\n\r\n"
ROOM = memoryview(bytearray(1 << 20))  # of all connections: `recv` would have so much made with each call
SILENCE_S = 60.0


class Answered(NamedTuple):
    """An answer as it came, which question it is to, and when that was asked or due and answered, in seconds."""

    question: int
    head: bytes
    body: bytes
    asked: float
    answered: float


@dataclass
class Outcome:
    """What came back, equal bytes kept once; and connections that ended by themselves."""

    answers: list[Answered] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    _known: dict[bytes, bytes] = field(default_factory=dict)

    def keep(self, question: int, head: bytes, body: bytes, *, asked: float, answered: float) -> None:
        """Keep an answer."""
        same = self._known.setdefault
        self.answers.append(Answered(question, same(head, head), same(body, body), asked, answered))


class Connection:
    """Asks one question after another, each when it is told to, and collects the answers.

    Connections that share `numbers` ask different questions.
    """

    def __init__(
        self, port: int, requests: list[bytes], outcome: Outcome, numbers: Iterator[int] | None = None
    ) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SILENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = requests
        self._outcome = outcome
        self._numbers = count() if numbers is None else numbers
        self._buffer = b""
        self.lost = False

    def ask(self, since: float | None = None) -> None:
        """Ask the next question; how long its answer takes counts from `since`, or else from now."""
        self._question = next(self._numbers) % len(self._requests)
        self._asked = time.monotonic() if since is None else since
        self.socket.sendall(self._requests[self._question])

    def read(self) -> bool:
        """Read what came; return whether the answer is there, or will never be."""
        try:
            data = bytes(ROOM[: self.socket.recv_into(ROOM)])
        except ConnectionError:
            data = b""
        answered = time.monotonic()
        self._buffer += data
        head, end, body = self._buffer.partition(END_OF_HEAD)
        if end and len(body) >= length_of(head):
            self._outcome.keep(self._question, head, body, asked=self._asked, answered=answered)
            self._buffer = b""
            return True
        if not data:
            self._outcome.lost.append("connection lost")
            self.lost = True
        return self.lost


def length_of(head: bytes) -> int:
    """Return the length of the body that a head announces."""
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
