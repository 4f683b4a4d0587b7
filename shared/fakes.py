"""The bus in memory: what JetStream does to publishers, without a server. For tests, and for trying a service out."""

import asyncio
import shutil
from pathlib import Path

from shared import cloudevents
from shared.bus import Pause, Published, RequestState, no_pause, object_name
from shared.errors import BundleError, PromotionConflictError
from shared.event import Event
from shared.events import BundleRef, parse


class InMemoryBus:
    """A `Bus` whose streams are lists; bundles are files in a folder. `core` holds what no stream keeps."""

    def __init__(self, folder: Path, source: str = "memory") -> None:
        self.core: list[tuple[str, Event]] = []
        self._folder = folder
        self._source = source
        self._streams: dict[str, list[tuple[str, bytes]]] = {}
        self._stored: dict[tuple[str, str], int] = {}  # stream and event id → sequence
        self._states: dict[str, RequestState] = {}

    async def publish(
        self,
        event: Event,
        model: str,
        *,
        event_id: str | None = None,
        expected_last: int | None = None,
        again: bool = False,
        pause: Pause = no_pause,
    ) -> Published:
        """Store an event once per `event_id`; as with JetStream, the expectation is checked before duplicates are."""
        await pause()
        if event.stream is None:
            self.core.append((model, event))
            return Published(0, duplicate=False)
        headers = cloudevents.headers(event.type, source=self._source, model=model, event_id=event_id)
        key, subject = (event.stream, headers[cloudevents.MSG_ID]), event.subject(model)
        if expected_last is not None and self._last_sequence(event.stream, subject) != expected_last:
            raise PromotionConflictError(f"{subject} has moved past sequence {expected_last}")
        if key in self._stored:
            return Published(self._stored[key], duplicate=True)
        stored = self._streams.setdefault(event.stream, [])
        stored.append((subject, event.model_dump_json().encode()))
        self._stored[key] = len(stored)
        return Published(len(stored), duplicate=False)

    async def last(self, kind: type[Event], model: str) -> tuple[int, Event] | None:
        """Return sequence and data of the last event of a kind for a model."""
        subject = kind.subject(model)
        sequence = self._last_sequence(str(kind.stream), subject)
        if not sequence:
            return None
        return sequence, parse(subject, self._streams[str(kind.stream)][sequence - 1][1])[1]

    def events(self, kind: type[Event]) -> list[tuple[str, Event]]:
        """Return every stored event of a kind with its model, in order."""
        found = [parse(subject, body) for subject, body in self._streams.get(str(kind.stream), [])]
        return [(model, event) for model, event in found if isinstance(event, kind)]

    async def put_bundle(self, archive: Path, digest: str) -> BundleRef:
        """Copy an archive unless it is there already."""
        stored = self._bundle(digest)
        if not stored.exists():
            await asyncio.to_thread(shutil.copyfile, archive, stored)
        return BundleRef(object=stored.name, digest=digest, size=stored.stat().st_size)

    async def fetch_bundle(self, ref: BundleRef, destination: Path) -> None:
        """Copy a stored archive to a file; raise `BundleError` (`download`) if there is none."""
        try:
            await asyncio.to_thread(shutil.copyfile, self._bundle(ref.digest), destination)
        except OSError as error:
            raise BundleError(f"bundle {ref.object} cannot be downloaded: {error}", "download") from error

    async def delete_bundle(self, digest: str) -> None:
        """Delete a stored archive if there is one."""
        self._bundle(digest).unlink(missing_ok=True)

    async def request_state(self, request_id: str) -> RequestState | None:
        """Return what is known of a train request."""
        return self._states.get(request_id)

    async def set_request_state(self, request_id: str, state: RequestState) -> None:
        """Remember what is known of a train request."""
        self._states[request_id] = state

    def _last_sequence(self, stream: str, subject: str) -> int:
        stored = self._streams.get(stream, [])
        return max((sequence for sequence, (name, _) in enumerate(stored, 1) if name == subject), default=0)

    def _bundle(self, digest: str) -> Path:
        return self._folder / object_name(digest)
