"""The processes that belong to a child, also after the child itself died: how they are found, and how they are ended.

A process group is not enough: PostgreSQL's backends and anything else that calls setsid leave it, and a pid in a file
may long belong to a stranger. So every child carries a mark in its environment, which its descendants inherit, and a
record of its first process with the time it was created. PostgreSQL overwrites the environment of its backends; they
are known by their working directory.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass

import psutil

from compose.local.datadir import DataDir, write_private

POLL_S = 0.02


@dataclass(frozen=True)
class Record:
    """The first process of a child; `created` is in seconds since the epoch."""

    name: str
    pid: int
    created: float
    stop_signal: int
    home: str | None = None


def marks(data: DataDir, name: str) -> dict[str, str]:
    """Return the variables that mark a child and its descendants as parts of a stack."""
    return {"BATON_STACK": str(data.root), "BATON_CHILD": name}


def created(pid: int) -> float | None:
    """Return when a living process was created, None if there is none; a zombie does not live."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def is_same(pid: int, created_s: float | None) -> bool:
    """Say whether a pid still means the process created at that time (the clock may have been set by up to 1 s)."""
    now = created(pid)
    return now is not None and created_s is not None and abs(now - created_s) < 1.0


def keep_record(data: DataDir, record: Record) -> None:
    """Write down the first process of a child."""
    write_private(data.record(record.name), json.dumps(asdict(record)))


def read_records(data: DataDir) -> list[Record]:
    """Return all records; one that cannot be read is skipped, the marks are still there."""
    records = []
    for path in sorted(data.run.glob("*.json")):
        with suppress(OSError, ValueError, TypeError):
            records.append(Record(**json.loads(path.read_text())))
    return records


def forget(data: DataDir) -> None:
    """Drop all records."""
    for path in data.run.glob("*.json"):
        path.unlink(missing_ok=True)


def find(data: DataDir, name: str = "") -> list[psutil.Process]:
    """Return the living processes that belong to a child, or to any child of the stack."""
    records = [record for record in read_records(data) if name in ("", record.name)]
    found = set(_recorded(records))
    homes = {record.home for record in records if record.home}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if _is_marked(process, data, name) or (homes and process.cwd() in homes):
                found.add(process)
    return [process for process in found if process.pid != os.getpid() and _lives(process)]


def end(data: DataDir, name: str = "", *, grace_s: float = 0.0, within_s: float = 10.0) -> list[psutil.Process]:
    """End what belongs to a child, or to the stack: ask first if there is a grace, then kill until nothing is left.

    Returns what is still alive after `within_s` seconds more, normally nothing.
    """
    if grace_s:
        _ask([record for record in read_records(data) if name in ("", record.name)], grace_s)
    deadline = time.monotonic() + within_s
    while (left := find(data, name)) and time.monotonic() < deadline:
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        time.sleep(POLL_S)  # a killed process may have just made another: look again until none is found
    return left


def _recorded(records: Iterable[Record]) -> Iterator[psutil.Process]:
    for record in records:
        with suppress(psutil.Error):
            if is_same(record.pid, record.created):
                process = psutil.Process(record.pid)
                yield process
                yield from process.children(recursive=True)


def _is_marked(process: psutil.Process, data: DataDir, name: str) -> bool:
    environment = process.environ()
    return environment.get("BATON_STACK") == str(data.root) and name in ("", environment.get("BATON_CHILD"))


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _ask(records: list[Record], grace_s: float) -> None:
    """Send each first process its stop signal, and wait until all are gone or the grace is over."""
    for record in records:
        if is_same(record.pid, record.created):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(record.pid, record.stop_signal)
    deadline = time.monotonic() + grace_s
    while any(is_same(record.pid, record.created) for record in records) and time.monotonic() < deadline:
        time.sleep(POLL_S)
