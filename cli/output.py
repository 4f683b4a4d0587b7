"""What the command line prints and the exit codes it ends with."""

import sys
from typing import Any, NoReturn

import orjson
from rich.console import Console

from shared.errors import BatonError, UnreachableError

DONE, FAILED, USAGE, REFUSED, UNREACHABLE, PARTLY = 0, 1, 2, 3, 4, 5

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Write one JSON object to stdout, on a line of its own."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode() + "\n")
    sys.stdout.flush()


def exit_code(error: BatonError) -> int:
    """Return the exit code of a foreseen failure."""
    return UNREACHABLE if isinstance(error, UnreachableError) else FAILED


def fail(error: BatonError) -> NoReturn:
    """Print a foreseen failure as one sentence on stderr and end with its exit code."""
    err.print(f"baton: {error}", markup=False)
    sys.exit(exit_code(error))
