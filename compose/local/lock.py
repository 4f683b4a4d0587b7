"""One stack per data directory: the lock, who holds it, and the guardian that holds it a little longer."""

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import BinaryIO, TextIO

import anyio
import anyio.to_thread

from compose.local import leftovers
from compose.local.child import environment
from compose.local.datadir import DataDir
from compose.local.state import read_state
from shared.errors import StackError
from shared.locks import take

CLEAN_UP_S = 30.0
POLL_S = 0.1


@asynccontextmanager
async def held(data: DataDir) -> AsyncIterator[None]:
    """Hold a data directory: no processes of an earlier stack run in it, and ours will not outlive us.

    Raise `StackError` saying who holds it, if somebody does.
    """
    with data.lock.open("a+") as file:
        await _lock(data, file)
        _sign(file)
        await anyio.to_thread.run_sync(clear, data)
        with data.log("guardian").open("ab") as log, _start_guardian(data, file, log):
            yield


def _start_guardian(data: DataDir, lock: TextIO, log: BinaryIO) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "compose.local.guardian", str(data.root)],
        stdin=subprocess.PIPE,  # our end closes with us, however we end: then the guardian clears up
        stdout=log,
        stderr=log,
        env=environment(),
        start_new_session=True,
        pass_fds=[lock.fileno()],  # the lock is free when both of us are gone: not before all is cleared up
    )


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


async def _lock(data: DataDir, file: TextIO) -> None:
    with anyio.move_on_after(CLEAN_UP_S):
        while not take(file):
            _refuse_if_held(data)
            await anyio.sleep(POLL_S)  # its holder is dead, and the guardian is still clearing up
        return
    raise StackError(f"{data.lock} stays locked though its holder is gone; choose another --data-dir")


def _sign(file: TextIO) -> None:
    """Write into the lock who holds it."""
    holder = {"pid": os.getpid(), "created": leftovers.created(os.getpid()), "since": time.time()}
    file.truncate(0)
    file.write(json.dumps(holder))
    file.flush()


def _refuse_if_held(data: DataDir) -> None:
    """Raise `StackError` if the one that signed the lock is alive."""
    try:
        holder = json.loads(data.lock.read_text())
    except ValueError:  # locked this very moment and not yet signed
        return
    if not leftovers.is_same(holder["pid"], holder["created"]):
        return
    since = datetime.fromtimestamp(holder["since"]).astimezone()
    state = read_state(data.root)
    urls = ", ".join(f"{part} {url}" for part, url in state.public_urls.items()) if state else "not ready yet"
    raise StackError(
        f"a stack already runs on {data.root}: pid {holder['pid']} since {since:%Y-%m-%d %H:%M:%S} ({urls}); "
        f"use that one, stop it with `kill {holder['pid']}`, or choose another --data-dir"
    )
