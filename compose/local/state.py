"""What a stack that is ready says about itself, for the other verbs of the command line."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from compose.local.datadir import DataDir, write_private


@dataclass(frozen=True)
class State:
    """A stack that is ready: its supervisor, where its parts answer, the first process of each child."""

    pid: int
    data_dir: str
    ready_s: float
    urls: dict[str, str]
    children: dict[str, int]

    @property
    def public_urls(self) -> dict[str, str]:
        """Return the addresses without their passwords."""
        return {part: without_password(url) for part, url in self.urls.items()}


def read_state(data_dir: Path) -> State | None:
    """Return what the stack of a data directory says, None if none is ready there."""
    try:
        return State(**json.loads(DataDir(data_dir.expanduser().resolve()).state.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_state(data: DataDir, state: State) -> None:
    """Publish a stack's state; the file holds PostgreSQL's password and is for its owner only."""
    write_private(data.state, json.dumps(asdict(state)))


def without_password(url: str) -> str:
    """Return a URL with its password replaced by stars."""
    parts = urlsplit(url)
    if not parts.password:
        return url
    return parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@", 1)).geturl()
