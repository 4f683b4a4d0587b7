#!/usr/bin/env python3
# ruff: noqa: N999 - the name that people know
"""The old promotion command, kept for scripts and habits: it leads on to `baton`.

promote-model.py --auto | --list | --cleanup [MODEL] | MODEL [VERSION]
"""

import os
import sys
from pathlib import Path

VERBS = {"--auto": ["promote", "--auto"], "--list": ["models"]}
KEPT = "5"  # versions of each model that --cleanup keeps


def translated(words: list[str]) -> list[str] | None:
    """Return the words of `baton` that mean the same, None for words that mean nothing."""
    if words and words[0] in VERBS:
        return [*VERBS[words[0]], *words[1:]]
    if words and words[0] == "--cleanup":
        named = len(words) > 1 and not words[1].startswith("-")
        return ["cleanup", *(words[1:] if named else ["--all", *words[1:]]), "--keep", KEPT]
    if words and not words[0].startswith("-"):
        return ["promote", *words]
    return None


def main() -> None:
    """Lead on to `baton`, whose answer and exit code are passed on."""
    words = translated(sys.argv[1:])
    if words is None:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    print(f"promote-model.py is deprecated: baton {' '.join(words)}", file=sys.stderr)
    baton = Path(__file__).resolve().parents[1] / ".venv" / "bin" / "baton"
    command = [str(baton), *words]
    os.execv(command[0], command)  # nosec B606 # noqa: S606 - `baton` in place of this process


if __name__ == "__main__":
    main()
