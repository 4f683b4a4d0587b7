"""The disk cache: bundles by digest, and the last change of each model's champion, shared by the workers of a host."""

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from services.predictor.eviction import Eviction
from services.predictor.meters import Meters
from services.predictor.scratch import Scratch
from services.predictor.verifier import Verifier
from shared.bus import Bus
from shared.errors import BundleError, EventError
from shared.event import subject_token
from shared.events import BundleRef, ModelPromoted, ModelWithdrawn, parse
from shared.locks import take
from shared.telemetry import logger
from shared.verification import VerifiedModel

LOCK_POLL_S = 0.02
OWN = "own"  # an archive's second name, while it is worked with
LONGEST_NAME = 200  # file systems take 255 bytes

log = logger(__name__)


class Pointer(BaseModel):
    """What was last said about a model's champion, as it came: the event's subject and its data."""

    subject: str
    event: dict[str, Any]


class Cache:
    """Files under one directory; every write is a rename, every lock is the kernel's and ends with its holder.

    Bundles take at most `max_bytes`; those of champions stay, even if they are more. Who works with an archive does so
    under a name of its own, in scratch space: another worker, or the next download, may evict it meanwhile.
    """

    def __init__(self, folder: Path, verifier: Verifier, meters: Meters, max_bytes: int) -> None:
        self._verifier = verifier
        self._meters = meters
        self._bundles = folder / "bundles"
        self._champions = folder / "champions"
        self._eviction = Eviction(self._bundles, max_bytes, self._of_champions, meters)
        self._scratch = Scratch(folder / "scratch")

    def prepare(self) -> None:
        """Create the directories, and remove what workers that were killed left half done."""
        for folder in (self._bundles, self._champions):
            folder.mkdir(parents=True, exist_ok=True)
        self._eviction.prepare()
        self._scratch.prepare()

    async def verified(self, ref: BundleRef, bus: Bus | None) -> VerifiedModel:
        """Return a bundle loaded and verified, from the cache, else from the bus (None: it cannot be reached).

        A cached archive that was damaged is fetched again. Raise `BundleError` naming the check that failed.
        """
        archive = self._bundles / _file_name(ref.digest)
        try:
            with suppress(FileNotFoundError):
                return await self._cached(archive, ref.digest)
            async with self._scratch.folder() as folder:
                return await self._verify(await self._download(ref, archive, folder, bus), ref.digest)
        except OSError as error:
            raise BundleError(f"bundle {ref.digest} cannot be cached: {error}", "download") from error
        except ValidationError as error:
            raise BundleError(
                f"bundle {ref.digest} holds what this predictor cannot read: {error}", "schema"
            ) from error

    def has(self, ref: BundleRef) -> bool:
        """Return whether a bundle is on disk; that of a champion stays there once the champion is remembered."""
        return (self._bundles / _file_name(ref.digest)).exists()

    async def keep(self, ref: BundleRef, bus: Bus) -> None:
        """Have the bundle of a champion on disk, for the next start: as a challenger, in memory, it may be evicted.

        Raise `BundleError`.
        """
        async with self._scratch.folder() as folder:
            await self._download(ref, self._bundles / _file_name(ref.digest), folder, bus)

    async def _cached(self, archive: Path, digest: str) -> VerifiedModel:
        """Return a bundle from the cache; raise `FileNotFoundError` if it is not there or damaged."""
        async with self._scratch.folder() as folder:
            await asyncio.to_thread(os.utime, archive)
            seen = await asyncio.to_thread(archive.stat)
            own = await asyncio.to_thread(_hold, archive, folder / OWN)
            self._meters.bundle("cached")
            try:
                return await self._verify(own, digest)
            except BundleError as error:
                if error.check != "digest":
                    raise
                self._meters.bundle("damaged")
                log.warning("cached bundle is damaged, fetching it again", digest=digest, error=str(error))
                async with _locked(archive.with_suffix(".lock")):
                    await asyncio.to_thread(_unlink, archive, seen)
                raise FileNotFoundError(archive) from error

    async def _download(self, ref: BundleRef, archive: Path, folder: Path, bus: Bus | None) -> Path:
        """Download an archive unless another worker just did; return it under a name of our own, in a folder."""
        if bus is None:
            raise BundleError(f"bundle {ref.digest} is not in the cache, and NATS cannot be reached", "download")
        async with _locked(archive.with_suffix(".lock")):
            with suppress(FileNotFoundError):
                return await asyncio.to_thread(_hold, archive, folder / OWN)
            partial = folder / archive.name
            await bus.fetch_bundle(ref, partial)
            self._meters.bundle("fetched", partial.stat().st_size)
            own = await asyncio.to_thread(_hold, partial, folder / OWN)
            await asyncio.to_thread(partial.replace, archive)
            await asyncio.to_thread(self._eviction.evict, archive)
            return own

    def _of_champions(self) -> set[str]:
        return {
            _file_name(change.bundle.digest) for _, change in self.remembered() if isinstance(change, ModelPromoted)
        }

    async def _verify(self, archive: Path, digest: str) -> VerifiedModel:
        async with self._scratch.folder() as folder:
            return await self._verifier.verified(archive, folder, digest)

    def remember(
        self, model: str, change: ModelPromoted | ModelWithdrawn, pause: Callable[[], object] = lambda: None
    ) -> None:
        """Write down a model's last change, unless a newer one of the same ledger was written by another worker.

        `pause` is called between steps.
        """
        path = self._pointer(model)
        with path.with_suffix(".lock").open("ab", buffering=0) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            pause()
            for _, known in _read(path):
                if known.ledger == change.ledger and known.generation >= change.generation:
                    return
            pause()
            pointer = Pointer(subject=change.subject(model), event=change.model_dump(mode="json"))
            pause()
            written = _written(path, pointer)
            pause()
            written.replace(path)

    def remembered(self) -> list[tuple[str, ModelPromoted | ModelWithdrawn]]:
        """Return the last change of each model; pointers that cannot be read are skipped."""
        return [found for path in sorted(self._champions.glob("*.json")) for found in _read(path)]

    def _pointer(self, model: str) -> Path:
        token = subject_token(model)
        name = token if len(token) <= LONGEST_NAME else hashlib.sha256(token.encode()).hexdigest()
        return self._champions / f"{name}.json"


def _hold(archive: Path, own: Path) -> Path:
    """Give an archive a second name, under which it stays; where a file has but one, a copy takes it."""
    try:
        own.hardlink_to(archive)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(archive, own)
    return own


def _unlink(archive: Path, seen: os.stat_result) -> None:
    """Remove an archive that is still the one that was seen: another worker may have fetched it anew."""
    with suppress(FileNotFoundError):
        if archive.stat().st_ino == seen.st_ino:
            archive.unlink()


def _file_name(digest: str) -> str:
    return digest.replace(":", "-")


def _read(path: Path) -> Iterator[tuple[str, ModelPromoted | ModelWithdrawn]]:
    """Yield the model and the change that a pointer holds, nothing if it holds none."""
    try:
        pointer = Pointer.model_validate_json(path.read_bytes())
        model, change = parse(pointer.subject, json.dumps(pointer.event).encode())
    except FileNotFoundError:
        return
    except (OSError, ValidationError, EventError) as error:
        log.warning("pointer to a champion is unreadable", path=str(path), error=str(error))
        return
    if isinstance(change, ModelPromoted | ModelWithdrawn):
        yield model, change


def _written(path: Path, pointer: Pointer) -> Path:
    """Write what is to replace a pointer; who holds its lock writes alone."""
    written = path.with_suffix(".new")
    with open(written, "wb", opener=_private) as file:
        file.write(pointer.model_dump_json().encode())
    return written


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


@asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    """Hold a file lock; nobody waits for it in a thread, for its holder needs threads too, and they are few."""
    with await asyncio.to_thread(path.open, "w") as lock:
        while not take(lock):  # noqa: ASYNC110 - its holder may be another process
            await asyncio.sleep(LOCK_POLL_S)
        yield
