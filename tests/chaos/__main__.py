"""`python -m tests.chaos --seed S --kills N [--runs R]`: one line per run on stdout, exit code 1 on any violation."""

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

from tests.chaos.run import Outcome, run
from tests.chaos.template import copy_template, make_template


def main() -> int:
    """Run the seeds in a row; the directory of a run that fails is kept."""
    options = _options()
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # a line per version that is copied says nothing here
    warnings.simplefilter("ignore", FutureWarning)  # stages are deprecated, and still what many use
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="baton-chaos-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # root's PostgreSQL runs as another user
    asyncio.run(make_template(folder / "template"))
    failed = False
    for seed in range(options.seed, options.seed + options.runs):
        data_dir = folder / f"seed-{seed}"
        copy_template(folder / "template", data_dir)
        outcome = asyncio.run(run(seed, options.kills, data_dir))
        failed |= bool(outcome.violations)
        _tell(outcome, data_dir)
    shutil.rmtree(folder / "template")
    return int(failed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="task chaos --", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first run's seed (1)")
    parser.add_argument("--kills", type=int, default=60, help="how often something is killed in a run (60)")
    parser.add_argument("--runs", type=int, default=1, help="how many seeds in a row (1)")
    parser.add_argument("--folder", type=Path, help="where runs keep their data; default: a temporary directory")
    options = parser.parse_args()
    for name in ("kills", "runs"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} {getattr(options, name)}: at least 1 is expected")
    return options


def _tell(outcome: Outcome, data_dir: Path) -> None:
    print(outcome, flush=True)
    if not outcome.violations:
        shutil.rmtree(data_dir, ignore_errors=True)
        return
    for violation in outcome.violations:
        print(f"  {violation}", file=sys.stderr, flush=True)
    print(f"  kept: {data_dir}/journal.log, {data_dir}/logs", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
