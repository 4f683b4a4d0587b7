"""Questions that tell whether a part is ready: each answers None, or what is missing."""

import asyncio
import http.client
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import anyio.to_thread

TIMEOUT_S = 5.0
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


async def get_json(url: str) -> Any:
    """Return the JSON that a URL answers with 200; raise `OSError` or `ValueError` otherwise."""
    return await anyio.to_thread.run_sync(_get_json, url, abandon_on_cancel=True)


def _get_json(url: str) -> Any:
    # A proxy that the environment names cannot reach this machine's own addresses.
    proxies: dict[str, str] | None = {} if urlsplit(url).hostname in LOOPBACK else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
    try:
        with opener.open(url, timeout=TIMEOUT_S) as response:
            body = response.read()
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        raise OSError(f"HTTP {error.code}") from error
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP answer: {error!r}") from error
    return json.loads(body) if body.startswith((b"{", b"[")) else body.decode()


async def answers(url: str) -> str | None:
    """Ask whether a URL answers with 200."""
    try:
        await get_json(url)
    except (OSError, ValueError) as error:
        return f"{url}: {error}"
    return None


async def listens(host: str, port: int) -> str | None:
    """Ask whether somebody accepts connections."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        return f"{host}:{port}: {error}"
    writer.close()
    return None
