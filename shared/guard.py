"""Letting requests in by the keys that they show."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.errors import UnauthorizedError
from shared.keys import Keys

HOW_TO_BE_LET_IN = {"www-authenticate": 'Bearer realm="baton"'}


class Guard:
    """An ASGI application around another: what is not open is for who shows a key, whose name is left in the scope.

    Nothing of a stranger's body is read.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: Keys,
        is_open: Callable[[Scope], bool],
        refuse: Callable[[Request, Any], Awaitable[ASGIApp]],
    ) -> None:
        self._app = app
        self._keys = keys
        self._is_open = is_open
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or refuse it."""
        app = self._app
        if scope["type"] == "http" and not self._is_open(scope):
            try:
                scope["caller"] = self._keys.caller(scope["headers"])
            except UnauthorizedError as error:
                app = await self._refuse(Request(scope), error)
        await app(scope, receive, send)
