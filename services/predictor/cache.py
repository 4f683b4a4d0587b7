"""The disk cache: bundles by digest, and the last champion of each model, shared by the workers of a host."""

import asyncio
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import ValidationError

from shared.bus import Bus
from shared.errors import BundleError
from shared.events import BundleRef, ModelPromoted, model_name, subject_token
from shared.telemetry import logger
from shared.verification import VerifiedModel, verify

log = logger(__name__)


class Cache:
    """Files under one directory; every write is a rename, every lock is the kernel's and ends with its holder."""

    def __init__(self, folder: Path) -> None:
        self._bundles = folder / "bundles"
        self._champions = folder / "champions"

    def prepare(self) -> None:
        """Create the directories."""
        for folder in (self._bundles, self._champions):
            folder.mkdir(parents=True, exist_ok=True)

    async def verified(self, ref: BundleRef, bus: Bus | None) -> VerifiedModel:
        """Return a bundle loaded and verified, from the cache, else from the bus (None: it cannot be reached).

        A cached archive that was damaged is fetched again. Raise `BundleError` naming the check that failed.
        """
        archive = self._bundles / ref.digest.replace(":", "-")
        async with _locked(archive.with_suffix(".lock")):
            if await asyncio.to_thread(archive.exists):
                try:
                    return await asyncio.to_thread(_verify, archive, ref.digest)
                except BundleError as error:
                    if error.check != "digest":
                        raise
                    log.warning("cached bundle is damaged, fetching it again", digest=ref.digest, error=str(error))
            await self._download(ref, archive, bus)
            return await asyncio.to_thread(_verify, archive, ref.digest)

    async def _download(self, ref: BundleRef, archive: Path, bus: Bus | None) -> None:
        if bus is None:
            raise BundleError(f"bundle {ref.digest} is not in the cache, and NATS cannot be reached", "download")
        partial = archive.with_suffix(f".{os.getpid()}.part")
        await bus.fetch_bundle(ref, partial)
        await asyncio.to_thread(partial.replace, archive)

    def remember(self, promoted: ModelPromoted, model: str) -> None:
        """Point to a model's champion, unless the pointer is at a newer one of the same ledger already."""
        path = self._champions / f"{subject_token(model)}.json"
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = _read(path)
            if known and known.ledger == promoted.ledger and known.generation >= promoted.generation:
                return
            _write(path, promoted.model_dump_json())

    def forget(self, model: str) -> None:
        """Drop the pointer to a withdrawn champion."""
        (self._champions / f"{subject_token(model)}.json").unlink(missing_ok=True)

    def remembered(self) -> list[tuple[str, ModelPromoted]]:
        """Return the last champion of each model; pointers that cannot be read are skipped."""
        found = [(model_name(f".{path.stem}"), _read(path)) for path in sorted(self._champions.glob("*.json"))]
        return [(model, promoted) for model, promoted in found if promoted is not None]


def _verify(archive: Path, digest: str) -> VerifiedModel:
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        return verify(archive, Path(folder), digest)


def _read(path: Path) -> ModelPromoted | None:
    try:
        return ModelPromoted.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        log.warning("pointer to a champion is unreadable", path=str(path), error=str(error))
        return None


def _write(path: Path, text: str) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(text)
    Path(file.name).replace(path)


@asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    """Hold a file lock, waiting for it in a thread."""
    with await asyncio.to_thread(path.open, "w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        yield
