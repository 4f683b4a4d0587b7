"""Verification with a deadline: a bundle that hangs is given up, and holds up no other and no exit."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from services.predictor.intake import intake
from shared.errors import BundleError
from shared.faults import point
from shared.verification import VerifiedModel, verify

AT_ONCE = 8

Verify = Callable[[Path, Path, str], VerifiedModel]


class Verifier:
    """Checks each bundle in a thread of its own, a few at once; `deadline_s` counts from when it begins."""

    def __init__(self, deadline_s: float, verify: Verify = verify) -> None:
        self._deadline_s = deadline_s
        self._verify = verify
        self._places = asyncio.Semaphore(AT_ONCE)

    async def verified(self, archive: Path, folder: Path, digest: str) -> VerifiedModel:
        """Verify a bundle, unpacked into a folder; raise `BundleError`, with the check `deadline` if it takes too long.

        No thread can be ended from outside: one that hangs is left alone, and ends with the process.
        """

        def verify() -> VerifiedModel:
            point("predictor.verifying")
            model = self._verify(archive, folder, digest)
            intake(model)  # here, where no request waits for it
            return model

        async with self._places:
            try:
                async with asyncio.timeout(self._deadline_s):
                    return await _in_thread(verify)
            except TimeoutError as error:
                raise BundleError(
                    f"the bundle was not verified within {self._deadline_s:g} s (BATON_VERIFY_DEADLINE_S)", "deadline"
                ) from error


async def _in_thread(work: Callable[[], VerifiedModel]) -> VerifiedModel:
    """Run work in a thread that the process does not wait for when it ends, unlike those of a pool."""
    result: Future[VerifiedModel] = Future()
    result.set_running_or_notify_cancel()  # so that whoever gives up waiting cannot take the result's place away

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, name="verify", daemon=True).start()
    return await asyncio.wrap_future(result)
