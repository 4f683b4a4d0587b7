"""A connection of the HTTP server."""

from typing import cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from services.predictor.routes.front import CLOSE, Answer, Front

SILENCE_S = 1.0


class Connection(HttpToolsProtocol):
    """As uvicorn has it, but a prediction that takes next to nothing is answered in the call that read its question.

    No task, no timer and no message is made for it, which would take longer than the model. It has to come whole, at
    the head of what was read, and the connection must take the answer at once: everything else goes uvicorn's way.
    """

    _takes = False  # only while bytes are parsed can the end of a request follow its head
    _held: RequestResponseCycle | None = None

    def data_received(self, data: bytes) -> None:
        """Parse what was read; a request whose body is still on its way goes uvicorn's way."""
        self._takes = True
        super().data_received(data)
        self._takes = False
        self._release()

    def on_message_complete(self) -> None:
        """Answer a request that came whole, if its answer is a matter of a moment."""
        super().on_message_complete()
        cycle = self._held
        if cycle is not None and (answer := self._at_once(cycle)):
            self._held = None
            self._send(cycle, answer)
        self._release()

    def shutdown(self) -> None:
        """Close when the server stops: after the answer, or after a while in which nothing is asked.

        Whoever connected is about to ask; closed at once, a request that is on its way would be answered by a reset.
        """
        if not self.cycle:
            self.loop.call_later(SILENCE_S, super().shutdown)
        else:
            super().shutdown()

    def _at_once(self, cycle: RequestResponseCycle) -> Answer | None:
        return cast("Front", self.app).at_once(cast("Scope", cycle.scope), bytes(cycle.body))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: object) -> None:
        if self._takes and not self.flow.write_paused:
            self._takes = False  # who sends many requests in one go shall not keep the others waiting
            self._held = cycle
        else:
            super()._start_asgi_task(cycle, app)  # type: ignore[arg-type]

    def _release(self) -> None:
        if self._held is not None:
            cycle, self._held = self._held, None
            super()._start_asgi_task(cycle, self.app)

    def _send(self, cycle: RequestResponseCycle, answer: Answer) -> None:
        """Write a whole answer, and leave everything as uvicorn's own way to write it does."""
        status, headers, body = answer
        ends = not cycle.keep_alive or CLOSE in headers
        if ends and CLOSE not in headers:
            headers.append(CLOSE)
        head = [name + b": " + value + b"\r\n" for name, value in [*cycle.default_headers, *headers]]
        self.transport.write(b"".join([STATUS_LINE[status], *head, b"\r\n", body]))
        cycle.response_started = cycle.response_complete = True
        if ends:
            self.transport.close()
        cycle.on_response()
