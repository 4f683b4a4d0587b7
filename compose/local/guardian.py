"""Outlives the supervisor by a moment: when that is gone, for whatever reason, nothing of its stack stays behind.

Standard input is a pipe whose other end only the supervisor has. It closes when the supervisor ends, also by SIGKILL;
after an orderly stop there is nothing left to end. The guardian also keeps the data directory locked until it is done.
"""

import signal
import sys
from pathlib import Path

from compose.local.datadir import DataDir
from compose.local.lock import clear


def main(data_dir: str) -> None:
    """Wait for the supervisor's end, then clear up after it."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    sys.stdin.buffer.read()
    clear(DataDir(Path(data_dir)))


if __name__ == "__main__":
    main(sys.argv[1])
