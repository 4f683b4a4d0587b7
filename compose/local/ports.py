"""Ports of the stack: what a user asks for, and whether it is free."""

import socket
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack

import psutil

from compose.local.settings import PORT_FIELDS
from shared.errors import StackError

HOST = "127.0.0.1"


def parse_ports(assignments: Iterable[str]) -> dict[str, int]:
    """Read `service=N` assignments; raise `ValueError` saying what is wrong with the first bad one."""
    ports: dict[str, int] = {}
    for assignment in assignments:
        service, _, number = assignment.partition("=")
        if service not in PORT_FIELDS:
            raise ValueError(f"{assignment!r}: no such service; one of {', '.join(PORT_FIELDS)} is expected")
        if not (number.isascii() and number.isdigit() and int(number) <= 65535):
            raise ValueError(f"{assignment!r}: a port from 0 (any free one) to 65535 is expected, as in {service}=9000")
        ports[service] = int(number)
    return ports


def choose(wanted: Mapping[str, int], *, replaceable: Collection[str] = ()) -> dict[str, int]:
    """Return a free port for each service: the wanted one, any if that is 0 or taken and replaceable.

    Raise `StackError` naming the service whose port is taken, and its holder if that can be told.
    """
    with ExitStack() as reserved:  # all are held until all are chosen, so that no two services get the same
        fixed_first = sorted(wanted, key=lambda service: wanted[service] == 0)
        return {s: _reserve(s, wanted[s], s in replaceable, reserved) for s in fixed_first}


def _reserve(service: str, port: int, replaceable: bool, reserved: ExitStack) -> int:
    listener = reserved.enter_context(socket.socket())
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(1)  # two sockets may be bound to one port with SO_REUSEADDR, but not listen on it
    except OSError as error:
        if replaceable:
            return _reserve(service, 0, False, reserved)
        raise StackError(
            f"port {port} for {service} is not usable ({_holder(port) or error.strerror}); choose another with "
            f"--port {service}=N or BATON_{service.upper()}_PORT, 0 for any free one"
        ) from error
    return int(listener.getsockname()[1])


def _holder(port: int) -> str:
    """Return who listens on a port, empty if the system does not tell."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                pid = connection.pid
                return f"taken by {psutil.Process(pid).name()}, pid {pid}" if pid else "taken by another process"
    except psutil.Error:
        pass
    return ""
