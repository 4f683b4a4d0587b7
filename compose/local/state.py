"""What a ready stack publishes about itself: where its parts answer and which processes they are."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from compose.local.datadir import DataDir, write_private
from compose.local.leftovers import created, is_same
from shared.settings import without_password


@dataclass(frozen=True)
class State:
    """The content of `stack.json`; the URL of PostgreSQL holds its password. `ready_s` is in seconds.

    `token` lets commands in over HTTP; it is empty where the user's own file of tokens does.
    """

    pid: int
    data_dir: str
    ready_s: float
    urls: dict[str, str]
    children: dict[str, int]
    ready: bool = True
    token: str = ""

    @property
    def public_urls(self) -> dict[str, str]:
        """Return the URLs as they may be shown."""
        return {part: without_password(url) for part, url in self.urls.items()}


def read_state(data_dir: Path) -> State | None:
    """Return the state of the stack that runs on a data directory, None if none is ready there."""
    try:
        content = json.loads(DataDir(data_dir).state.read_text())
        began = content.pop("created")
        state = State(**content)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return state if is_same(state.pid, began) else None


def write_state(data: DataDir, state: State) -> None:
    """Publish the state, for the owner only; readers see the old one or the new one, never half of it."""
    content = {**asdict(state), "created": created(state.pid)}  # a pid alone may soon mean another process
    write_private(data.state, json.dumps(content, indent=2) + "\n")
