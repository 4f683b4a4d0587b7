"""What a user chose about a migration."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from cli.migrate.artifacts import ArtifactStore
from cli.migrate.bounds import Bounds
from cli.migrate.plan import OnConflict


class Verify(StrEnum):
    """How much is read back: nothing, every item with the metric histories of some runs, or everything."""

    OFF = "off"
    SAMPLE = "sample"
    FULL = "full"


@dataclass(frozen=True)
class Options:
    """What a user chose; `since` is in milliseconds since 1970, `backup` the folder for the archive, None for none."""

    root: Path
    url: str
    store: ArtifactStore
    on_conflict: OnConflict = OnConflict.FAIL
    only: tuple[str, ...] = ()
    since: int | None = None
    backup: Path | None = None
    processes: int = 2
    verify: Verify = Verify.SAMPLE
    bounds: Bounds = field(default_factory=Bounds)

    @property
    def is_partial(self) -> bool:
        """Tell whether only a part of the source was chosen."""
        return bool(self.only) or self.since is not None

    @property
    def source(self) -> str:
        """Return the name under which the target remembers this source."""
        return str(self.root)
