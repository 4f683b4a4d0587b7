"""Bundling: makes the bundle of a version that MLflow's own client registered, before its promotion is relayed.

A model file is code: it is opened in a child process only (`bundling_child.py`), which has limits and no credentials.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from asyncio.subprocess import Process
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

from services.promoter.bundling.child import Job, Outcome
from services.promoter.settings import BundlingSettings
from shared.bundle import unpack
from shared.bus import Bus
from shared.errors import BundleError, MissingArtifactError
from shared.events import BundleRef
from shared.registry import Registry
from shared.telemetry import logger
from shared.versions import TAG_BUNDLE, TAG_GOLDEN, Version

AT_ONCE = 2
ROOT = Path(__file__).parents[3]
HANDED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV")

log = logger(__name__)


@dataclass(frozen=True)
class Made:
    """A bundle's archive that a child wrote."""

    archive: Path
    digest: str
    reason: str


class Bundler:
    """Makes bundles, one at a time per model and a few at once; a model's waiting holds up no other's."""

    def __init__(self, bus: Bus, registry: Registry, settings: BundlingSettings) -> None:
        self._bus = bus
        self._registry = registry
        self._settings = settings
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._children = asyncio.Semaphore(AT_ONCE)

    async def bundle(self, model: str, version: str) -> BundleRef:
        """Return a version's bundle, made now if it has none, and tagged on the version in MLflow.

        Raise `BundleError` where it can have none, with what to do about it; anything else may pass.
        """
        async with self._turns[model]:
            found = await asyncio.to_thread(self._registry.version, model, version)
            if found is None:
                raise BundleError(f"{model} version {version} is not in MLflow any more", "download")
            if found.bundle is not None:
                return found.bundle
            async with self._children:
                return await self._new(found)

    async def _new(self, version: Version) -> BundleRef:
        log.info("bundling", model=version.model, version=version.version)
        try:
            with tempfile.TemporaryDirectory(prefix="baton-bundle-") as folder:
                return await self._stored(version, Path(folder))
        except (BundleError, MissingArtifactError) as error:
            check = error.check if isinstance(error, BundleError) else "download"
            raise BundleError(f"version {version.version} cannot be bundled: {error}", check) from error

    async def _stored(self, version: Version, folder: Path) -> BundleRef:
        job = await asyncio.to_thread(self._downloaded, version, folder)
        made = await self._made(job)
        # Never the child's word alone: its archive has to be what its digest says.
        await asyncio.to_thread(unpack, made.archive, folder / "unpacked", made.digest)
        bundle = await self._bus.put_bundle(made.archive, made.digest)
        await asyncio.to_thread(
            self._registry.tag, version.model, version.version, TAG_BUNDLE, bundle.model_dump_json()
        )
        log.info("bundled", model=version.model, version=version.version, digest=made.digest, runtime=made.reason)
        return bundle

    def _downloaded(self, version: Version, folder: Path) -> Job:
        files = self._registry.download_model(version.model, version.version, folder / "model")
        return Job(
            model_dir=str(files),
            golden=self._golden(version, folder / "golden"),
            archive=str(folder / "bundle.tar"),
            outcome=str(folder / "outcome.json"),
            memory_mb=self._settings.bundle_memory_mb,
            allow_code=self._settings.allow_pyfunc,
        )

    def _golden(self, version: Version, folder: Path) -> str | None:
        artifact = version.tags.get(TAG_GOLDEN)
        if not artifact:
            return None
        if version.run_id is None:
            raise BundleError(f"the tag {TAG_GOLDEN} names {artifact}, but the version has no run to look in", "golden")
        try:
            return str(self._registry.download(version.run_id, artifact, folder))
        except MissingArtifactError as error:
            raise BundleError(f"{error}, which its tag {TAG_GOLDEN} names", "golden") from error

    async def _made(self, job: Job) -> Made:
        outcome = await run_child(job, self._settings.bundle_timeout_s)
        if outcome.check:
            raise BundleError(outcome.message, outcome.check)
        return Made(Path(job.archive), outcome.digest, outcome.message)


async def run_child(job: Job, timeout_s: float) -> Outcome:
    """Run a job in a child process, and kill it with all that it started when it takes too long."""
    folder = Path(job.outcome).parent
    with (folder / "child.log").open("wb") as output:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "services.promoter.bundling.child"),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=_environment(folder),
            start_new_session=True,
        )
    try:
        async with asyncio.timeout(timeout_s):
            await _finish(child, job)
    except TimeoutError:
        return Outcome(check="deadline", message=f"it took longer than {timeout_s:g} s (BATON_BUNDLE_TIMEOUT_S)")
    finally:
        _kill(child)
        await child.wait()
    return await asyncio.to_thread(_outcome, job, child.returncode, folder / "child.log")


async def _finish(child: Process, job: Job) -> None:
    """Hand over the job; the open pipe tells the child that the promoter is alive."""
    assert child.stdin is not None  # nosec B101 # noqa: S101 - it was asked for
    child.stdin.write(json.dumps(asdict(job)).encode() + b"\n")
    await child.wait()


def _kill(child: Process) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:  # it ended, and so did all that it started
        return


def _environment(folder: Path) -> dict[str, str]:
    """Return what a child needs to know: nothing of databases, servers or accounts."""
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet", "PYTHONDONTWRITEBYTECODE": "1"}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    here = {"HOME": str(folder), "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
    return {name: os.environ[name] for name in HANDED_ON if name in os.environ} | quiet | threads | here


def _outcome(job: Job, code: int | None, output: Path) -> Outcome:
    path = Path(job.outcome)
    if path.is_file():
        return Outcome(**json.loads(path.read_bytes()))
    log.error("bundling child died", code=code, output=output.read_text(errors="replace")[-2000:])
    return Outcome(check="load", message=f"the process that opened the model died (exit code {code})")
