"""Scratch space: a folder of this worker's own for what is half done; what workers that died left there is removed."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from shared.locks import take


class Scratch:
    """One folder per worker, locked as long as its process lives: the kernel ends the lock, however it ended."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._own = parent

    def prepare(self) -> None:
        """Remove what nobody holds any more, and take a folder."""
        self._parent.mkdir(parents=True, exist_ok=True)
        for leftover in self._parent.iterdir():
            if (descriptor := _locked(leftover)) is not None:
                shutil.rmtree(leftover, ignore_errors=True)
                os.close(descriptor)
        self._own = _take(self._parent)

    @asynccontextmanager
    async def folder(self) -> AsyncIterator[Path]:
        """Make a folder and remove it afterwards, whoever may still be reading there."""
        made = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._own))
        try:
            yield made
        finally:
            await asyncio.to_thread(shutil.rmtree, made, ignore_errors=True)


def _take(parent: Path) -> Path:
    while True:
        own = Path(tempfile.mkdtemp(dir=parent))
        if _locked(own) is not None and own.exists():  # another worker may have removed it before it was locked
            return own


def _locked(folder: Path) -> int | None:
    """Lock a folder until the descriptor is closed; None if somebody holds it, or it is gone."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        if take(descriptor):
            return descriptor
        os.close(descriptor)
    return None
