"""Downloading from an object store, across the loss of the server that one reads from."""

import asyncio
import base64
import hashlib
from contextlib import aclosing
from typing import IO

from nats.aio.client import Client
from nats.js.api import ObjectInfo
from nats.js.errors import DigestMismatchError

from shared.stored import read_on


async def download(client: Client, bucket: str, info: ObjectInfo, file: IO[bytes]) -> None:
    """Write an object to a file, chunk by chunk; raise `DigestMismatchError` if it is not what was stored."""
    digest, missing = hashlib.sha256(), info.chunks or 0
    async with aclosing(read_on(client, f"OBJ_{bucket}", [f"$O.{bucket}.C.{info.nuid}"], after=0)) as chunks:
        while missing:
            chunk = await anext(chunks)
            digest.update(chunk.data)
            await asyncio.to_thread(file.write, chunk.data)
            missing -= 1
    if base64.urlsafe_b64decode((info.digest or "").rpartition("SHA-256=")[2]) != digest.digest():
        raise DigestMismatchError
