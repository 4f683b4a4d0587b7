"""A connection of the HTTP server."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

SILENCE_S = 1.0


class Connection(HttpToolsProtocol):
    """As uvicorn has it, but a connection on which nothing was read yet is not closed at once when the server stops.

    Whoever connected is about to ask; closed at once, a request that is on its way would be answered by a reset.
    """

    def shutdown(self) -> None:
        """Close when the server stops: after the answer, or after a while in which nothing is asked."""
        if not self.cycle:
            self.loop.call_later(SILENCE_S, super().shutdown)
        else:
            super().shutdown()
