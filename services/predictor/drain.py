"""Emptying a worker on SIGTERM: it is not ready any more, then it takes no connections, and what is inside ends."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from services.predictor.gate import Gate
from shared.telemetry import logger

log = logger(__name__)


@contextmanager
def draining(gate: Gate, seconds: float) -> Iterator[None]:
    """Let the server hear of SIGTERM only `seconds` later; until then it is not ready, and asks clients to leave.

    So a balancer looks elsewhere before connections are refused, and no client finds one closed that it just used.
    """
    stop = signal.getsignal(signal.SIGTERM)
    server = getattr(stop, "__self__", None)
    if threading.current_thread() is not threading.main_thread() or not isinstance(server, uvicorn.Server):
        yield
        return
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[None]] = []  # kept, for the loop does not

    def begin(number: int, frame: FrameType | None) -> None:
        if gate.is_draining:
            server.handle_exit(number, frame)  # the second time somebody is in a hurry
            return
        gate.is_draining = True
        log.info("draining", seconds=seconds, requests=gate.inside)
        loop.call_soon_threadsafe(lambda: tasks.append(loop.create_task(_leave(server, seconds))))

    signal.signal(signal.SIGTERM, begin)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, stop)


async def _leave(server: uvicorn.Server, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await _stop_listening(server)
    server.handle_exit(signal.SIGTERM, None)


async def _stop_listening(server: uvicorn.Server) -> None:
    """Take every connection that waits to be accepted, and refuse the next one.

    The kernel resets whoever waits where the last listener closes: so the server stops, and what came meanwhile is
    accepted on a copy of its listener right before that one closes.
    """
    copies = [socket.socket(fileno=os.dup(one.fileno())) for listening in server.servers for one in listening.sockets]
    for listening in server.servers:
        listening.close()
    await asyncio.sleep(0.01)  # the loop closes listeners in its next turns
    came = [made for copy in copies for made in _accepted(copy)]
    for made in came:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: _connection(server), made)


def _accepted(listener: socket.socket) -> list[socket.socket]:
    """Accept whoever waits; close as soon as there is nobody."""
    listener.setblocking(False)
    came: list[socket.socket] = []
    while True:
        try:
            came.append(listener.accept()[0])
        except BlockingIOError:
            listener.close()
            return came


def _connection(server: uvicorn.Server) -> asyncio.Protocol:
    config = server.config
    make: Callable[..., asyncio.Protocol] = config.http_protocol_class
    return make(config=config, server_state=server.server_state, app_state=server.lifespan.state)
