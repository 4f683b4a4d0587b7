"""Logs of the children: one file each, kept from growing without end, read back by `baton logs` and in errors."""

from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

import anyio

from compose.local.datadir import DataDir
from shared.errors import StackError

ROTATE_BYTES = 10_000_000
POLL_S = 0.2


def open_log(data: DataDir, name: str) -> BinaryIO:
    """Open a child's log for appending; one that has grown beyond `ROTATE_BYTES` becomes `<name>.log.1` first."""
    path = data.log(name)
    if path.exists() and path.stat().st_size > ROTATE_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))
    return path.open("ab")


def names(data: DataDir) -> list[str]:
    """Return the children that have a log."""
    return sorted(path.stem for path in data.logs.glob("*.log"))


def select(data: DataDir, name: str | None) -> list[str]:
    """Return the one name asked for, or all; raise `StackError` listing what there is if there is no such log."""
    known = names(data)
    if not known:
        raise StackError(f"there are no logs in {data.logs}; start the stack with `baton up`, or name its --data-dir")
    if name is not None and name not in known:
        raise StackError(f"there is no log of {name!r} in {data.logs}; there are: {', '.join(known)}")
    return known if name is None else [name]


def tail(path: Path, lines: int) -> list[str]:
    """Return the last lines of a log, without their line ends."""
    if lines <= 0 or not path.exists():
        return []
    with path.open(errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, maxlen=lines)]


async def follow(data: DataDir, chosen: list[str]) -> AsyncIterator[tuple[str, str]]:
    """Yield (name, line) for every line that the chosen children write from now on, without end."""
    followed = {name: _Follower(data.log(name)) for name in chosen}
    while True:
        for name, follower in followed.items():
            for line in follower.new_lines():
                yield name, line
        await anyio.sleep(POLL_S)


class _Follower:
    """Reads what is appended to a file, also after the file was rotated."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = path.stat().st_size
        self._inode = path.stat().st_ino
        self._half_line = ""

    def new_lines(self) -> Iterator[str]:
        """Yield the whole lines that were appended since the last call."""
        try:
            status = self._path.stat()
        except FileNotFoundError:  # in the middle of a rotation
            return
        if status.st_ino != self._inode or status.st_size < self._position:
            self._inode, self._position, self._half_line = status.st_ino, 0, ""
        with self._path.open("rb") as file:
            file.seek(self._position)
            appended = file.read()
        self._position += len(appended)
        *whole, self._half_line = (self._half_line + appended.decode(errors="replace")).split("\n")
        yield from whole
