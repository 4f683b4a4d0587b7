"""Requests that came whole: head and body in one read, and nothing behind them."""

from typing import NamedTuple

import httptools

POST = b"POST "


class Whole(NamedTuple):
    """A request: the path as it was sent, without the query; headers by name in lower case; the whole body."""

    path: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Reader:
    """Reads what came on a connection, with the parser that uvicorn has."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._forget()

    def read(self, data: bytes) -> Whole | None:
        """Return the POST request that is all of the data and leaves the connection open; None for anything else."""
        if not data.startswith(POST):
            return None
        self._forget()
        try:
            self._parser.feed_data(data)
            if self._begun == self._ended == 1 and self._stays:
                return Whole(self._url.partition(b"?")[0], self._headers, self._body)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            pass  # whoever reads it next says what is wrong
        self._parser = httptools.HttpRequestParser(self)  # this one waits for the rest
        return None

    def _forget(self) -> None:
        self._url = self._body = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._begun = self._ended = 0
        self._stays = False

    def on_message_begin(self) -> None:
        """Note that a request begins."""
        self._begun += 1

    def on_url(self, url: bytes) -> None:
        """Note where the request goes."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Note whether the connection stays open; the parser forgets it with the end of the request."""
        self._stays = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """Note a part of the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Note that a request ends."""
        self._ended += 1
