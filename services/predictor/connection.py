"""A connection of the HTTP server."""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from services.predictor.routes.answers import dumped
from services.predictor.routes.front import BYTES_AT_ONCE, CLOSE, Answer, Front
from services.predictor.whole import Reader

SILENCE_S = 1.0
HEAD_BYTES, HEAD_S = 65_536, 10.0  # what a request's line and headers may take


class Connection(HttpToolsProtocol):
    """As uvicorn has it, but a prediction that takes next to nothing is answered in the call that read its question.

    No task, no timer, no scope and no message is made for it, which would take longer than the model. It has to come
    whole, to an idle connection that takes the answer at once: everything else goes uvicorn's way.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reader = Reader()
        self._is_between = True  # uvicorn's parser waits for the first byte of a request
        self._is_in_head = False
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._answered_at = 0.0  # by the loop's clock, the last answer that was given at once

    def data_received(self, data: bytes) -> None:
        """Answer a request that came whole, if its answer is a matter of a moment."""
        if answer := self._at_once(data):
            self._send(answer)
        else:
            super().data_received(data)
            self._watch_head(len(data))

    def on_message_begin(self) -> None:
        """Note that a part of a request was read."""
        self._is_between, self._is_in_head = False, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that it is known what a request asks for."""
        self._is_in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the whole request was read."""
        self._is_between = True
        super().on_message_complete()

    def shutdown(self) -> None:
        """Close when the server stops: after the answer, or after a while in which nothing is asked.

        Whoever connected is about to ask; closed at once, a request that is on its way would be answered by a reset.
        """
        if self._is_answered():
            self.loop.call_later(SILENCE_S, super().shutdown)
        else:
            super().shutdown()

    def _at_once(self, data: bytes) -> Answer | None:
        whole = self._reader.read(data) if len(data) <= BYTES_AT_ONCE and self._is_idle() else None
        return cast("Front", self.app).at_once(whole) if whole else None

    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _is_idle(self) -> bool:
        return self._is_answered() and self._is_between and not self.flow.write_paused

    def _watch_head(self, received: int) -> None:
        """Bound what a head takes, in bytes and in time: until it is whole nobody else knows of the request."""
        if not self._is_in_head:
            self._head_bytes = 0
            self._forget_head_timer()
            return
        self._head_bytes += received
        if self._head_bytes > HEAD_BYTES:
            self._refuse(431, f"the request's line and headers have more than {HEAD_BYTES} bytes")
        elif self._head_timer is None:
            late = f"the request's line and headers did not arrive within {HEAD_S:g} s"
            self._head_timer = self.loop.call_later(HEAD_S, self._refuse, 408, late)

    def _refuse(self, status: int, why: str) -> None:
        """Answer what will never be whole, and close."""
        self._forget_head_timer()
        if not self._is_answered():
            self.transport.close()
            return
        body = dumped({"detail": why})
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), CLOSE]
        self._send((status, headers, body))

    def _forget_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was waited for."""
        self._forget_head_timer()
        super().connection_lost(exc)

    def _send(self, answer: Answer) -> None:
        """Write a whole answer, and leave everything as uvicorn's own way to write it does."""
        status, headers, body = answer
        head = [name + b": " + value + b"\r\n" for name, value in [*self.server_state.default_headers, *headers]]
        self.transport.write(b"".join([STATUS_LINE[status], *head, b"\r\n", body]))
        self.server_state.total_requests += 1
        self._answered_at = self.loop.time()
        if CLOSE in headers:
            self.transport.close()
        elif self.timeout_keep_alive_task is None:
            self._keep_alive_for(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """Leave a client that asks nothing for too long; a timer per request would take longer than its JSON."""
        rest_s = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if rest_s > 0:
            self._keep_alive_for(rest_s)
        else:
            super().timeout_keep_alive_handler()

    def _keep_alive_for(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)
