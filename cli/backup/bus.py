"""The bus's part: requests that wait, what happened, request states, and the bundles."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from nats.js.api import ObjectInfo
from nats.js.errors import NotFoundError

from shared import cloudevents
from shared.bus import NatsBus
from shared.errors import BundleError
from shared.event import Stream
from shared.events import BundleRef
from shared.streams import MODELS, REQUESTS

# Not CHAMPIONS: the relay publishes each champion again from the restored ledger, under the ledger's new id.
KEPT = (Stream.TRAINING, Stream.COMMANDS, Stream.LIFECYCLE)


async def export_streams(bus: NatsBus, folder: Path) -> dict[str, int]:
    """Write each stream's messages as JSON lines, and the request states; return how many of each."""
    counts: dict[str, int] = {}
    for name in KEPT:
        counts[name] = await _write(folder / f"{name}.jsonl", _messages(bus, name))
    counts[REQUESTS] = await _write(folder / f"{REQUESTS}.jsonl", _messages(bus, f"KV_{REQUESTS}"))
    return counts


async def import_streams(bus: NatsBus, folder: Path) -> None:
    """Publish what `export_streams` wrote, each message with its headers; twice changes nothing within an hour."""
    for name in (f"KV_{REQUESTS}", *KEPT):  # states first, so that no request is trained a second time
        path = folder / f"{name.removeprefix('KV_')}.jsonl"
        for line in (await asyncio.to_thread(path.read_text)).splitlines():
            await _publish(bus, name, json.loads(line))


async def _publish(bus: NatsBus, stream: str, message: dict[str, Any]) -> None:
    body = message["body"].encode()
    await bus.js.publish(message["subject"], body, stream=stream, headers=message["headers"] or None)


async def _write(path: Path, messages: AsyncIterator[dict[str, Any]]) -> int:
    lines = [json.dumps(message) async for message in messages]
    await asyncio.to_thread(path.write_text, "".join(f"{line}\n" for line in lines))
    return len(lines)


async def _messages(bus: NatsBus, stream: str) -> AsyncIterator[dict[str, Any]]:
    """Yield every message of a stream up to the last one of now, oldest first; nobody's consumer is moved."""
    last = (await bus.js.stream_info(stream)).state.last_seq
    sequence = 0
    while sequence < last:
        try:
            found = await bus.js.get_msg(stream, sequence + 1, subject=">", next=True)
        except NotFoundError:
            return
        sequence = found.seq or last
        if sequence > last:
            return
        # A command by hand without an id has its sequence for one (shared/delivery.py), which is another one elsewhere.
        unnamed = cloudevents.event_id(found.headers) is None
        identity = {cloudevents.MSG_ID: f"{stream}-{sequence}"} if unnamed and stream in KEPT else {}
        headers = {**(found.headers or {}), **identity}
        yield {"subject": found.subject, "headers": headers, "body": (found.data or b"").decode()}


async def deleted_bundles(bus: NatsBus) -> set[str]:
    """Return the names of bundles that were deleted: the store remembers them."""
    return {str(entry.name) for entry in await _entries(bus) if entry.deleted}


async def export_bundles(bus: NatsBus, folder: Path) -> set[str]:
    """Download every bundle under its name; return the names of those that are deleted, before it or meanwhile."""
    gone = set()
    for entry in await _entries(bus):
        name = str(entry.name)
        if entry.deleted or not await _is_downloaded(bus, name, entry.size or 0, folder):
            gone.add(name)
    return gone


async def _is_downloaded(bus: NatsBus, name: str, size: int, folder: Path) -> bool:
    ref = BundleRef(object=name, digest=name.replace("-", ":", 1), size=size)
    try:
        await bus.fetch_bundle(ref, folder / name)
    except BundleError:
        if name in await deleted_bundles(bus):
            return False
        raise
    return True


async def _entries(bus: NatsBus) -> list[ObjectInfo]:
    store = await bus.js.object_store(MODELS)
    try:
        return list(await store.list())
    except NotFoundError:  # it is empty
        return []


async def import_bundles(bus: NatsBus, folder: Path) -> None:
    """Upload every bundle that the store does not have."""
    for archive in await asyncio.to_thread(lambda: sorted(folder.iterdir())):
        await bus.put_bundle(archive, archive.name.replace("-", ":", 1))
