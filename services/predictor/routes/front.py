"""The shortest way in: predictions are answered before any framework, everything else is left to it.

One data plane for every protocol: limits, champion, columns, runtime, answer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.predictor.access import AccessLog
from services.predictor.executor import ROWS_INLINE, Executor, is_quick, predicted
from services.predictor.gate import Gate
from services.predictor.meters import Meters
from services.predictor.routes.answers import GoneError, TooLargeError, TooSlowError, dumped, headers_of, status_of
from services.predictor.routes.presence import while_connected
from services.predictor.routes.protocol import Call, Headers, PredictionProtocol, Reply, reply_to
from services.predictor.settings import PredictorSettings
from services.predictor.slot import Champion, Slots
from services.predictor.whole import Whole
from shared.bundle import count
from shared.errors import BatonError, NotLoadedError, OverdueError
from shared.keys import Keys
from shared.telemetry import logger

CLOSE = (b"connection", b"close")
BYTES_AT_ONCE = 8_192
BYTES_INLINE = 16_384  # longer bodies are read in a thread: 10,000 numbers take a millisecond

Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
"""An HTTP answer: its status, its headers, its body."""

log = logger(__name__)


class Target:
    """What a path asks for: a protocol, and the model and version that the path names."""

    __slots__ = ("model", "path", "protocol", "version")

    def __init__(
        self, path: str, protocol: PredictionProtocol, model: str | None = None, version: str | None = None
    ) -> None:
        self.path = path
        self.protocol = protocol
        self.model = model
        self.version = version


Find = Callable[[bytes], Target | None]
"""Returns what a path, as it was sent, asks for; None if it is no prediction."""


class Front:
    """The ASGI application: predictions, and `rest` for all other requests."""

    def __init__(
        self,
        find: Find,
        slots: Slots,
        executor: Executor,
        gate: Gate,
        meters: Meters,
        *,
        settings: PredictorSettings,
        load: Callable[[str], Awaitable[Champion]],
        keys: Keys | None,
        rest: ASGIApp,
    ) -> None:
        self._find = find
        self._slots = slots
        self._executor = executor
        self._gate = gate
        self._meters = meters
        self._keys = keys
        self._access = AccessLog(on=settings.access_log)
        self._max_bytes = settings.max_body_bytes
        self._limit_s = settings.request_timeout_s
        self._load = load
        self._rest = rest

    def at_once(self, whole: Whole) -> Answer | None:
        """Answer a request that came whole, if a compiled model is asked for few rows; None if it is to be awaited."""
        started = perf_counter()
        target = self._find(whole.path)
        if target is None or len(whole.body) > self._max_bytes:
            return None
        caller = None
        try:
            if self._keys:
                caller = self._keys.caller(whole.headers)
            champion = self._champion(target)
            if not is_quick(champion.verified):
                return None
            with self._gate:
                question = target.protocol.read(Call(whole.body, whole.headers, target.model, target.version), champion)
                if not is_quick(champion.verified, question.columns):
                    return None
                reply = reply_to(question, champion, predicted(champion.verified, question.columns))
        except NotLoadedError:
            return None
        except Exception as error:
            return self._failure(target, error, started, whole.headers, caller)
        return self._success(target, champion, reply, started, whole.headers, caller)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        target = self._target(scope)
        if target is None:
            await self._rest(scope, receive, self._watched(scope, send) if scope["type"] == "http" else send)
            return
        status, headers, body = await self._answered(target, scope, receive)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _target(self, scope: Scope) -> Target | None:
        return self._find(scope["raw_path"]) if scope["type"] == "http" and scope["method"] == "POST" else None

    def _watched(self, scope: Scope, send: Send) -> Send:
        """Send responses that, while the worker drains, ask the client to connect anew the next time."""
        started = perf_counter()

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                if self._gate.is_draining:
                    message["headers"] = [*message["headers"], CLOSE]
                asked, caller = scope["headers"], scope.get("caller")
                self._access.note(scope["path"], message["status"], started, asked, method=scope["method"], key=caller)
            await send(message)

        return watched

    async def _answered(self, target: Target, scope: Scope, receive: Receive) -> Answer:
        started, caller = perf_counter(), None
        try:
            if self._keys:
                caller = self._keys.caller(scope["headers"])
            with self._gate, self._meters.inside:
                champion, reply = await self._reply(target, scope, receive)
        except Exception as error:
            return self._failure(target, error, started, scope["headers"], caller)
        return self._success(target, champion, reply, started, scope["headers"], caller)

    def _success(  # noqa: PLR0917 - a call by position takes less
        self, target: Target, champion: Champion, reply: Reply, started: float, asked: Headers, caller: str | None
    ) -> Answer:
        champion.usage.last = started
        self._meters.answered(champion, perf_counter() - started)
        if self._access.on:
            who: dict[str, Any] = {name: getattr(champion, name) for name in ("model", "version", "generation")}
            self._access.note(target.path, 200, started, asked, key=caller, **who)
        headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body)), *champion.headers]
        return self._answer(200, headers, reply.body)

    def _failure(self, target: Target, error: Exception, started: float, asked: Headers, caller: str | None) -> Answer:
        """Return what is said of a request that failed; what nobody foresaw is written to the log."""
        if not isinstance(error, BatonError):
            log.error("a prediction failed for something that nobody foresaw", exc_info=error)
            error = BatonError("the predictor failed; its log says why")
        status, body = status_of(error), dumped(target.protocol.problem(error))
        self._meters.failed(status)
        self._access.note(target.path, status, started, asked, key=caller, error=str(error))
        headers = {"content-type": "application/json", "content-length": str(len(body)), **headers_of(error)}
        return self._answer(status, [(name.encode(), value.encode()) for name, value in headers.items()], body)

    def _answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> Answer:
        """Ask the client to connect anew the next time, if the worker drains."""
        if self._gate.is_draining:
            headers.append(CLOSE)
        return status, headers, body

    async def _reply(self, target: Target, scope: Scope, receive: Receive) -> tuple[Champion, Reply]:
        body = champion = None
        try:
            async with asyncio.timeout(self._limit_s):
                body = await self._body(receive)
                try:
                    champion = self._champion(target)
                except NotLoadedError as error:
                    loaded = await while_connected(self._load(error.model), receive)
                    champion = loaded.of_version(target.version)
                call = Call(body, scope["headers"], target.model, target.version)
                return champion, await self._asked(target.protocol, call, champion, receive)
        except TimeoutError:
            raise self._late(body, champion) from None

    def _late(self, body: bytes | None, champion: Champion | None) -> BatonError:
        """Return the error for a request that took too long, by how far it came."""
        if body is None:
            return TooSlowError(f"the body did not arrive within {self._limit_s:g} s")
        if champion is None:
            return OverdueError(f"the model was not loaded within {self._limit_s:g} s: ask again, it goes on loading")
        return OverdueError(f"{champion.model} did not answer within {self._limit_s:g} s")

    def _champion(self, target: Target) -> Champion:
        if target.model is None:
            return self._slots.default()
        return self._slots.champion(target.model).of_version(target.version)

    async def _asked(self, protocol: PredictionProtocol, call: Call, champion: Champion, receive: Receive) -> Reply:
        """Read the rows, ask the model, write the answer; what is long is read and written off the loop."""
        is_short, model = len(call.body) <= BYTES_INLINE, champion.verified
        question = (
            protocol.read(call, champion) if is_short else await self._executor.run(protocol.read, call, champion)
        )
        if is_short and is_quick(model, question.columns):
            return reply_to(question, champion, predicted(model, question.columns))
        prediction = await while_connected(self._executor.predict(model, question.columns), receive)
        if count(question.columns) <= ROWS_INLINE:
            return reply_to(question, champion, prediction)
        return await self._executor.run(reply_to, question, champion, prediction)

    async def _body(self, receive: Receive) -> bytes:
        body, is_more = bytearray(), True
        while is_more and len(body) <= self._max_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise GoneError("the client went away before its body was there")
            body += message.get("body", b"")
            is_more = message.get("more_body", False)
        if len(body) > self._max_bytes:
            raise TooLargeError(f"the body has more than {self._max_bytes} bytes, the most that is taken")
        return bytes(body)
