"""The data directory: where a stack on one machine keeps everything that it keeps."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from shared.errors import StackError


@dataclass(frozen=True)
class DataDir:
    """The paths below one absolute directory."""

    root: Path

    def create(self) -> None:
        """Make the directory and its fixed folders; raise `StackError` if this user may not."""
        try:
            for folder, mode in ((self.root, 0o755), (self.logs, 0o755), (self.run, 0o755), (self.secrets, 0o700)):
                folder.mkdir(mode=mode, parents=True, exist_ok=True)
            (self.root / ".gitignore").write_text("*\n")  # it is data and secrets: never part of a repository
        except OSError as error:
            raise StackError(
                f"data directory {self.root} cannot be written ({error.strerror}); choose another with --data-dir"
            ) from error

    @property
    def logs(self) -> Path:
        """Return the folder with a log of each child."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Return the folder with a record of each child that runs."""
        return self.root / "run"

    @property
    def secrets(self) -> Path:
        """Return the folder of generated passwords, for the owner only."""
        return self.root / "secrets"

    @property
    def lock(self) -> Path:
        """Return the file that the one stack of this directory holds locked."""
        return self.root / "lock"

    @property
    def state(self) -> Path:
        """Return the file that says where the parts of a ready stack answer."""
        return self.root / "stack.json"

    def log(self, name: str) -> Path:
        """Return the log file of a child."""
        return self.logs / f"{name}.log"

    def record(self, name: str) -> Path:
        """Return the file that records the running process of a child."""
        return self.run / f"{name}.json"

    def secret(self, name: str) -> str:
        """Return the generated password of a name; it is made on first use and kept."""
        path = self.secrets / name
        if not path.exists():
            write_private(path, secrets.token_urlsafe(24))
        return path.read_text()


def write_private(path: Path, text: str) -> None:
    """Write a file for its owner only, whole or not at all: a reader never sees half of it."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
