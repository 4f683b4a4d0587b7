"""The verbs: in which order the parts are taken, and put back."""

import asyncio
import json
import shutil
import sys
import tarfile
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import endpoints, output
from cli.backup.artifacts import Artifacts
from cli.backup.bus import deleted_bundles, export_bundles, export_streams, import_bundles, import_streams
from cli.backup.database import Database, Snapshot
from cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from shared.archives import unpack_into
from shared.bus import NatsBus
from shared.errors import BatonError

FORMAT = 1
STREAM = Path("-")
CONTENTS, DUMP = "contents.json", "database.dump"
FOLDERS = ("streams", "bundles", "artifacts")


@dataclass(frozen=True)
class Contents:
    """What an archive holds: counts, and the champion of each model at the point that it restores."""

    format: int
    made_at: str
    champions: dict[str, str]
    counts: dict[str, int]


def register(app: typer.Typer) -> None:
    """Add this module's verbs to the command."""
    app.command()(backup)
    app.command()(restore)


def backup(
    archive: Annotated[Path, typer.Argument(help="The file to write, such as baton-2026-05-01.tar; - for stdout.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Write registry, ledger, artifacts, bundles, waiting requests and history into one archive; the stack goes on."""
    if archive.exists():
        raise BatonError(f"{archive} exists: name another file")
    where = endpoints.find(data_dir)
    with _folder(archive) as name:
        contents = asyncio.run(_taken(where, Path(name)))
        draft = Path(name) / "draft.tar"
        with tarfile.open(draft, "w") as tar:
            for part in (CONTENTS, DUMP, *FOLDERS):
                tar.add(Path(name) / part, arcname=part)
        _deliver(draft, archive)
    _say(archive, contents, "written", as_json=as_json)


def restore(
    archive: Annotated[Path, typer.Argument(help="The file that `baton backup` wrote; - for stdin.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Put an archive into an empty stack that runs; predictors follow the restored ledger at once."""
    if archive != STREAM and not archive.is_file():
        raise BatonError(f"there is no file {archive}")
    where = endpoints.find(data_dir)
    with _folder(archive) as name:
        contents = _opened(archive, Path(name))
        asyncio.run(_put_back(where, Path(name)))
    _say(archive, contents, "restored", as_json=as_json)


async def _taken(where: endpoints.Endpoints, folder: Path) -> Contents:
    """Take all parts while the stack works.

    The snapshot is the point that is restored. What waits on the bus is taken before it: a request that is finished
    in between is found finished by its id. Bundles and artifacts are taken after it: they never change, so all that
    the dump names is there, unless a cleanup deletes it meanwhile, and then there is no backup.
    """
    for name in FOLDERS:
        (folder / name).mkdir()
    database, artifacts = Database(where.database), Artifacts(where.mlflow)
    async with NatsBus(where.bus, "cli") as bus:
        output.err.print("requests and history …")
        counts = await export_streams(bus, folder / "streams")
        deleted = await deleted_bundles(bus)
        output.err.print("database …")
        snapshot = await asyncio.to_thread(_dumped, database, folder / DUMP)
        output.err.print("bundles …")
        check_kept(snapshot, await export_bundles(bus, folder / "bundles") - deleted)
        counts["bundles"] = len(list((folder / "bundles").iterdir()))
        output.err.print("artifacts …")
        counts["artifacts"] = await asyncio.to_thread(artifacts.export, folder / "artifacts")
    contents = Contents(FORMAT, datetime.now(UTC).isoformat(), snapshot.champions, counts)
    (folder / CONTENTS).write_text(json.dumps(asdict(contents), indent=2))
    return contents


def _dumped(database: Database, path: Path) -> Snapshot:
    with database.snapshot() as snapshot:
        database.dump(path, snapshot)
        return snapshot


def check_kept(snapshot: Snapshot, deleted: set[str]) -> None:
    """Raise `BatonError` if a bundle that the dump names was deleted while the backup was made."""
    if lost := sorted(name for name in deleted if snapshot.has_bundle(name)):
        raise BatonError(
            f"a cleanup deleted {len(lost)} bundles of the backup while it was made ({lost[0]}): make it again"
        )


def _folder(archive: Path) -> tempfile.TemporaryDirectory[str]:
    """Return a folder to work in: beside the archive, or wherever temporary files go if it is a stream."""
    beside = None if archive == STREAM else archive.absolute().parent
    return tempfile.TemporaryDirectory(prefix="baton-backup-", dir=beside)


def _deliver(draft: Path, archive: Path) -> None:
    if archive != STREAM:
        draft.replace(archive)
        return
    with draft.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)


def _opened(archive: Path, folder: Path) -> Contents:
    if archive == STREAM:
        archive = folder / "archive.tar"
        with archive.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    try:
        with tarfile.open(archive) as tar:
            unpack_into(tar, folder)
        contents = Contents(**json.loads((folder / CONTENTS).read_text()))
    except (tarfile.TarError, OSError, ValueError, TypeError) as error:
        raise BatonError(f"{archive} is not what `baton backup` writes: {error}") from error
    if contents.format != FORMAT:
        raise BatonError(f"{archive} has format {contents.format}, and this version of Baton reads {FORMAT}")
    return contents


async def _put_back(where: endpoints.Endpoints, folder: Path) -> None:
    """Put all parts back: what is referred to before what refers to it."""
    database, artifacts = Database(where.database), Artifacts(where.mlflow)
    await asyncio.to_thread(database.check_empty)
    async with NatsBus(where.bus, "cli") as bus:
        await asyncio.to_thread(artifacts.restore, folder / "artifacts")
        await import_bundles(bus, folder / "bundles")
        await asyncio.to_thread(database.restore, folder / DUMP)
        await import_streams(bus, folder / "streams")


def _say(archive: Path, contents: Contents, what: str, *, as_json: bool) -> None:
    if as_json and (archive != STREAM or what == "restored"):
        answer: dict[str, Any] = {"archive": str(archive), **asdict(contents)}
        return output.print_json(answer)
    counts = ", ".join(f"{count} {name}" for name, count in contents.counts.items())
    return (output.err if archive == STREAM else output.out).print(
        f"{archive} {what}: {len(contents.champions)} champions, {counts}", markup=False
    )
