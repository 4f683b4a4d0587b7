"""Keys that clients show over HTTP: several, named, known here by their hashes only, and taken back without a restart.

A key is 256 random bits, so its SHA-256 cannot be turned back by guessing. The slow hashes that passwords need, because
people choose them, would cost each request milliseconds here and protect nothing more.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

from shared.errors import SettingsError, UnauthorizedError
from shared.tasks import end
from shared.telemetry import logger

LINE = re.compile(r"([\w.@-]{1,100}):([0-9a-f]{64})", re.ASCII)
BEARER = b"bearer "
LOOK_S = 2.0

log = logger(__name__)


def new_key() -> str:
    """Return a key that nobody has."""
    return f"baton_{secrets.token_urlsafe(32)}"


def line_of(name: str, key: str) -> str:
    """Return the line of a file of keys that lets a key in; raise `SettingsError` for a name that no line can have."""
    line = f"{name}:{sha256(key.encode()).hexdigest()}"
    if not LINE.fullmatch(line):
        raise SettingsError(f"{name!r} is no name of a key: take up to 100 letters, digits, and any of _ . @ -")
    return line


class Keys:
    """The keys of a file, of lines `name:sha256 in hexadecimal`; empty lines and those that begin with # say nothing.

    Without a file nobody is let in. `called` is what people know them as.
    """

    def __init__(self, file: Path | None, called: str = "key") -> None:
        self._file = file
        self._called = called
        self._names: Mapping[bytes, str] = {}
        self._seen: tuple[int, int] | None = None

    def read(self) -> None:
        """Take what the file says now, if it changed; raise `SettingsError` if it cannot be read or understood."""
        if self._file is None:
            return
        try:
            stat = self._file.stat()
            if (stat.st_mtime_ns, stat.st_ino) != self._seen:
                self._names = named(self._file.read_text(encoding="utf-8"))
                self._seen = (stat.st_mtime_ns, stat.st_ino)
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"the file of keys {self._file} cannot be read: {error}") from error
        except SettingsError as error:
            raise SettingsError(f"{self._file}: {error}") from error

    def caller(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Return the name of the key in a request's headers (lower case); raise `UnauthorizedError` if there is none.

        Keys are looked up by their hash: how long that takes depends on bits that nobody can choose, so it tells
        nothing of a key.
        """
        key = shown(headers)
        if key is None:
            value = self._called.upper()
            raise UnauthorizedError(
                f"show a {self._called}, as `Authorization: Bearer {value}` or as `X-API-Key: {value}`"
            )
        name = self._names.get(sha256(key).digest())
        if name is None:
            raise UnauthorizedError(f"this {self._called} is not known here, or not any more")
        return name

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Take what the file says, and take it over whenever it changes; one that then cannot be used changes nothing.

        Raise `SettingsError` if it cannot be used now.
        """
        await asyncio.to_thread(self.read)
        following = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            await end([following])

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await asyncio.to_thread(self.read)
            except SettingsError as error:
                log.warning("keys stay as they were", error=str(error))


def named(text: str) -> dict[bytes, str]:
    """Read the lines of a file of keys: names by the hash of each key."""
    names = {}
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith("#"):
            continue
        found = LINE.fullmatch(line)
        if found is None:  # the line is not shown: it may be a key
            raise SettingsError(f"line {number} is not name:sha256: `baton key NAME` prints one that is")
        names[bytes.fromhex(found[2])] = found[1]
    return names


def shown(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """Return the key that headers show."""
    for name, value in headers:
        if name == b"authorization" and value[: len(BEARER)].lower() == BEARER:
            return value[len(BEARER) :].strip()
        if name == b"x-api-key":
            return value.strip()
    return None
