"""What NATS does not allow: a denial comes on its own, not as the answer to what was denied.

The server drops a forbidden publish and says so on the connection; whoever published waits for an acknowledgement in
vain. So the connection keeps what was said, and who waits asks here.
"""

import re
import ssl

from shared.errors import ForbiddenError
from shared.telemetry import logger
from shared.tls import UnencryptedError

VIOLATION = re.compile(r"permissions violation for (publish|subscription) to \"([^\"]+)\"", re.IGNORECASE)

log = logger(__name__)


class Denials:
    """What the server denied on one connection; `hear` is its error callback, silent about what surfaces elsewhere."""

    def __init__(self) -> None:
        self.is_stranger = False  # the server knows no such user or password
        self.distrust = ""  # why the server, or we, cannot be trusted
        self._denied: set[str] = set()

    async def hear(self, error: Exception) -> None:
        """Hear of an error of the connection."""
        self.is_stranger = self.is_stranger or "authorization violation" in str(error).lower()
        if isinstance(error, ssl.SSLError | UnencryptedError):
            self.distrust = getattr(error, "verify_message", "") or str(error)
        found = VIOLATION.search(str(error))
        if found is None:
            return
        what, subject = found.groups()
        self._denied.add(subject.lower())
        log.error("NATS does not allow this", what=what.lower(), subject=subject)

    def check(self, subject: str) -> None:
        """Raise `ForbiddenError` if publishing on a subject was denied."""
        if subject.lower() in self._denied:
            raise ForbiddenError(
                f"NATS does not let this user publish {subject}: set BATON_NATS_URL to that of a user who may"
            )
