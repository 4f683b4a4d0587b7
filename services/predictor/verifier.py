"""Verification with a deadline: a bundle that hangs is given up, and holds up no other and no exit."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from services.predictor.background import Background, give_way
from services.predictor.intake import intake
from shared.bundle import is_compiled
from shared.errors import BundleError
from shared.faults import point
from shared.memory import give_back
from shared.verification import VerifiedModel, verify

AT_ONCE = 8
LARGE = 16 * 2**20  # bytes of a bundle: what a smaller one leaves is soon used again

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
            if is_compiled(archive):  # only then: what other libraries start as they load keeps the priority for ever
                give_way()
            point("predictor.verifying")
            model = self._verify(archive, folder, digest)
            intake(model)  # here, where no request waits for it
            return model

        async with self._places:
            try:
                verified = await Background("verify", verify).result(self._deadline_s)
            except TimeoutError as error:
                raise BundleError(
                    f"the bundle was not verified within {self._deadline_s:g} s (BATON_VERIFY_DEADLINE_S)", "deadline"
                ) from error
        await asyncio.to_thread(_give_back_after, archive)
        return verified


def _give_back_after(archive: Path) -> None:
    """Give back what the loading of a large bundle left, in a thread of the requests' priority.

    It takes the allocator's locks, on which a thread of low priority might keep requests waiting. Of a bundle that
    fails nothing is given back: the error keeps the model.
    """
    if archive.stat().st_size > LARGE:
        give_back()
