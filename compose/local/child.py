"""What the supervisor has to know about a child, and what it tells about one."""

import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

State = Literal["starting", "ready", "restarting", "stopping", "stopped", "attached"]

Check = Callable[[], Coroutine[Any, Any, str | None]]
"""Asks a part whether it is ready: None when it is, otherwise what is missing, in a few words."""

Prepare = Callable[[], Coroutine[Any, Any, None]]
"""Runs before each start of a child, so it must be harmless to repeat; raises `StackError` when it cannot be done."""

VARIABLES_OF_THE_STACK = ("PYTHONDONTWRITEBYTECODE", "BATON_DATABASE_URL", "BATON_NATS_URL", "MLFLOW_TRACKING_URI")


async def nothing_to_prepare() -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Account:
    """The account that a child runs under: a prefix to its command, or a user and a group; by default our own."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    @property
    def switching(self) -> dict[str, Any]:
        """Return the options of a process that switch to the account; a prefix does that by itself."""
        if self.uid is None or self.prefix:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


@dataclass(frozen=True)
class Child:
    """One part of the stack that runs as a process of ours; times are in seconds."""

    name: str
    argv: tuple[str, ...]
    check: Check
    env: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    prepare: Prepare = nothing_to_prepare
    stop_signal: signal.Signals = signal.SIGTERM
    ready_within_s: float = 60.0
    stop_within_s: float = 10.0
    home: Path | None = None
    """A directory that is the working directory of this child's processes and of nobody else's."""
    account: Account = Account()


@dataclass(frozen=True)
class Change:
    """A part changed its state, `seconds` after the stack began to start."""

    part: str
    state: State
    seconds: float
    detail: str = ""


def environment(**own: str) -> dict[str, str]:
    """Return the user's environment for a child, without the addresses that only some children may know, plus its own.

    Bytecode is written, because MLflow starts three times slower without; a folder named `services` in the user's
    working directory does not shadow ours; a proxy is not asked for addresses of this machine.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in VARIABLES_OF_THE_STACK}
    direct = ",".join(filter(None, (inherited.get("NO_PROXY") or inherited.get("no_proxy"), "127.0.0.1,localhost")))
    ours = {"PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1", "NO_PROXY": direct, "no_proxy": direct}
    return inherited | ours | own
