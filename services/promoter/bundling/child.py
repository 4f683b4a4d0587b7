"""The child that opens an MLflow model and packs it: `python -m services.promoter.bundling.child`, a job on its input.

It is killed when it takes too long, may allocate so much and no more, and ends with the promoter.
"""

import json
import os
import resource
import signal
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

LONGEST_MESSAGE = 2000


@dataclass(frozen=True)
class Job:
    """What to pack: paths of the MLflow model, of golden rows (else its input example), and of what to write.

    `allow_code` lets files be opened that are code: pickles, and models of other flavors.
    """

    model_dir: str
    golden: str | None
    archive: str
    outcome: str
    memory_mb: int
    allow_code: bool


@dataclass(frozen=True)
class Outcome:
    """A digest and why it has that runtime, or the check that failed and what to do about it."""

    digest: str = ""
    check: str = ""
    message: str = ""


def main() -> None:
    """Read a job, do it, write its outcome."""
    job = Job(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_end_with_promoter, daemon=True).start()
    limit = job.memory_mb * 1024 * 1024
    with suppress(ValueError, OSError):  # macOS knows no such limit
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    outcome = _done(job)
    partial = Path(job.outcome + ".partial")
    partial.write_text(json.dumps(asdict(outcome)))
    partial.replace(job.outcome)


def _end_with_promoter() -> None:
    """Wait for the end of the input, which the promoter holds open, and end with all that the model started."""
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


def _done(job: Job) -> Outcome:
    from services.promoter.bundling.packing import bundled
    from shared.errors import BundleError

    try:
        manifest = bundled(job)
    except BundleError as error:
        return Outcome(check=error.check, message=str(error)[:LONGEST_MESSAGE])
    except MemoryError:
        return Outcome(check="load", message=f"it needs more memory than {job.memory_mb} MB (BATON_BUNDLE_MEMORY_MB)")
    except Exception as error:  # whatever a model makes a library raise
        traceback.print_exc()
        return Outcome(check="load", message=f"{type(error).__name__}: {error}"[:LONGEST_MESSAGE])
    return Outcome(digest=manifest.digest(), message=manifest.runtime_reason)


if __name__ == "__main__":
    main()
