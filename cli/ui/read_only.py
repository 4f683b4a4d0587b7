"""MLflow's server behind a door that lets only reading through."""

import os
import shutil
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

READING = {"GET", "HEAD", "OPTIONS"}
# MLflow asks for these by POST, because their filters are long.
QUESTIONS = ("/search", "/search-datasets", "/batchGet", "/get-history-bulk", "/graphql")
REFUSAL = b'{"error_code": "PERMISSION_DENIED", "message": "this FileStore is shown read-only: migrate it to go on"}'


def is_reading(method: str, path: str) -> bool:
    """Tell whether a request only asks."""
    return method in READING or (method == "POST" and path.rstrip("/").endswith(QUESTIONS))


class ReadOnly:
    """An ASGI application that refuses every write with 403, and deletes the folder of links when it ends."""

    def __init__(self, inner: Application, folder: Path) -> None:
        self._inner = inner
        self._folder = folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass reading on and refuse the rest."""
        if scope["type"] == "lifespan":
            try:
                return await self._inner(scope, receive, send)
            finally:
                shutil.rmtree(self._folder, ignore_errors=True)
        if scope["type"] != "http" or is_reading(scope["method"], scope["path"]):
            return await self._inner(scope, receive, send)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 403, "headers": headers})
        return await send({"type": "http.response.body", "body": REFUSAL})


def make_app() -> Application:
    """Return MLflow's server, read-only; which store it shows is in MLflow's environment."""
    from mlflow.server.fastapi_app import app

    return ReadOnly(app, Path(os.environ["_MLFLOW_SERVER_FILE_STORE"]))
