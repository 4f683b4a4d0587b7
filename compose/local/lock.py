"""One stack per data directory: the lock, who holds it, and the guardian that holds it a little longer."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import BinaryIO

import anyio
import anyio.to_thread

from compose.local import leftovers
from compose.local.datadir import DataDir
from compose.local.guardian import GOODBYE
from compose.local.state import read_state
from shared.errors import StackError

CLEAN_UP_S = 30.0
POLL_S = 0.1


@asynccontextmanager
async def held(data: DataDir) -> AsyncIterator[None]:
    """Hold a data directory: nobody else's processes run in it, and ours will not survive us.

    Raise `StackError` saying who holds it, if somebody does.
    """
    with data.lock.open("ab+") as file:
        await _lock(data, file)
        await anyio.to_thread.run_sync(clear, data)
        with subprocess.Popen(  # noqa: ASYNC220 - it returns as soon as the program is loaded
            [sys.executable, "-m", "compose.local.guardian", str(data.root)],
            stdin=subprocess.PIPE,  # our end closes with us, however we end: then the guardian clears up
            stdout=subprocess.DEVNULL,
            stderr=data.log("guardian").open("ab"),
            start_new_session=True,
            pass_fds=[file.fileno()],  # the lock is free when both of us are gone, so never before all is cleared
        ) as guardian:
            try:
                yield
            finally:
                guardian.communicate(GOODBYE)


def clear(data: DataDir, grace_s: float = 5.0) -> None:
    """End all processes of a stack whose supervisor is gone, and drop what it published."""
    data.state.unlink(missing_ok=True)
    left = leftovers.end(data, grace_s=grace_s)
    if left:
        raise StackError(
            f"pid {', '.join(str(p.pid) for p in left)} of an earlier stack in {data.root} cannot be ended; end it "
            "as the user that started it"
        )
    leftovers.forget(data)


async def _lock(data: DataDir, file: BinaryIO) -> None:
    with anyio.move_on_after(CLEAN_UP_S):
        while not _try_lock(file):
            _refuse_if_held(data)
            await anyio.sleep(POLL_S)  # its holder is dead: the guardian is still clearing up
        return
    raise StackError(f"{data.lock} stays locked though its holder is gone; choose another --data-dir")


def _try_lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    file.truncate(0)
    file.write(json.dumps({"pid": os.getpid(), "created": leftovers.created(os.getpid())}).encode())
    file.flush()
    return True


def _refuse_if_held(data: DataDir) -> None:
    """Raise `StackError` if the process that wrote itself into the lock is alive."""
    try:
        holder = json.loads(data.lock.read_text())
    except (OSError, ValueError):
        return  # it is just writing itself down
    if not leftovers.is_same(holder["pid"], holder["created"]):
        return
    since = datetime.fromtimestamp(holder["created"], UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    state = read_state(data.root)
    urls = ", ".join(f"{part} {url}" for part, url in state.public_urls.items()) if state else "it is still starting"
    raise StackError(
        f"{data.root} is held by pid {holder['pid']} since {since} ({urls}); "
        "stop that one, or choose another --data-dir"
    )
