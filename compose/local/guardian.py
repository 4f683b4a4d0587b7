"""The guardian: `python -m compose.local.guardian DATA_DIR` ends a stack's children when their supervisor was killed.

It reads a pipe whose other end only the supervisor holds. A byte is a goodbye; the end of the pipe without one means
that the supervisor is gone, and its children are not.
"""

import signal
import sys
from pathlib import Path

GOODBYE = b"."


def main() -> None:
    """Wait for the supervisor's end, and clear up after it if it could not."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    if sys.stdin.buffer.read(1) == GOODBYE:
        return
    from compose.local.datadir import DataDir
    from compose.local.lock import clear

    clear(DataDir(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
