"""What HTTP alone costs: a bare ASGI application that answers every request with the same bytes, `BENCH_ANSWER`."""

import os
from collections.abc import Awaitable, Callable
from typing import Any


class Constant:
    """Reads a request to its end and answers it with what it always answers."""

    def __init__(self, content: bytes) -> None:
        length = (b"content-length", b"%d" % len(content))
        self._head = {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"application/json"), length],
        }
        self._body = {"type": "http.response.body", "body": content}

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        while (await receive())["more_body"]:
            pass
        await send(self._head)
        await send(self._body)


def create_app() -> Constant:
    """Return the application, for uvicorn."""
    return Constant(os.environ["BENCH_ANSWER"].encode())
