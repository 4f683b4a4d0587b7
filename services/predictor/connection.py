"""A connection of the HTTP server."""

from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from services.predictor.routes.front import BYTES_AT_ONCE, CLOSE, Answer, Front
from services.predictor.whole import Reader

SILENCE_S = 1.0


class Connection(HttpToolsProtocol):
    """As uvicorn has it, but a prediction that takes next to nothing is answered in the call that read its question.

    No task, no timer, no scope and no message is made for it, which would take longer than the model. It has to come
    whole, to an idle connection that takes the answer at once: everything else goes uvicorn's way.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reader = Reader()
        self._is_between = True  # uvicorn's parser waits for the first byte of a request
        self._answered_at = 0.0  # by the loop's clock, the last answer that was given at once

    def data_received(self, data: bytes) -> None:
        """Answer a request that came whole, if its answer is a matter of a moment."""
        if answer := self._at_once(data):
            self._send(answer)
        else:
            super().data_received(data)

    def on_message_begin(self) -> None:
        """Note that a part of a request was read."""
        self._is_between = False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """Note that the whole request was read."""
        self._is_between = True
        super().on_message_complete()

    def shutdown(self) -> None:
        """Close when the server stops: after the answer, or after a while in which nothing is asked.

        Whoever connected is about to ask; closed at once, a request that is on its way would be answered by a reset.
        """
        if not self.cycle:
            self.loop.call_later(SILENCE_S, super().shutdown)
        else:
            super().shutdown()

    def _at_once(self, data: bytes) -> Answer | None:
        whole = self._reader.read(data) if len(data) <= BYTES_AT_ONCE and self._is_idle() else None
        return cast("Front", self.app).at_once(whole) if whole else None

    def _is_idle(self) -> bool:
        is_answered = self.cycle is None or self.cycle.response_complete
        return is_answered and self._is_between and not self.flow.write_paused

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
