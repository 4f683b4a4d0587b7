"""Copying artifacts to where they will be served from, each file whole or not at all."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cli.migrate.findings import Findings
from cli.migrate.folders import printable
from cli.migrate.links import REASON, leads_outside
from cli.migrate.tree import SourceError

CHUNK = 1 << 20
PARTIAL = ".baton-partial"
LONGEST = 255  # bytes in the name of a file


@dataclass(frozen=True)
class Copied:
    """What was copied of one folder: number of files, bytes, and a digest over names and contents."""

    files: int = 0
    bytes: int = 0
    digest: str = ""


@dataclass(frozen=True)
class ArtifactStore:
    """The new place of artifacts: URIs begin with `root`; files lie below `folder`, or are sent through MLflow."""

    root: str
    folder: Path | None
    tracking_uri: str | None = None

    def put(self, source: Path, uri: str, where: str, tree: Path, findings: Findings) -> Copied:
        """Copy a folder to a URI; files that are there already, byte for byte, are left alone."""
        files = list(artifact_files(source, where, tree, findings))
        if not files:
            return Copied()
        if self.folder is None:
            return self._send(uri, files, where, findings)
        base = self.path_of(uri)
        digests = []
        for name, path, size in files:
            content = _readable(path, f"{where}/{name}", findings)
            if content is not None:
                copy_file(path, base / name, size, content)
                digests.append((name, size, content))
        return _copied(digests)

    def path_of(self, uri: str) -> Path:
        """Return where the files of a URI lie; only for stores with a folder."""
        if self.folder is None or not uri.startswith(self.root):
            raise SourceError(f"{uri} lies in no folder of this machine")
        path = self.folder / unquote(uri.removeprefix(self.root).lstrip("/"))
        if ".." in path.relative_to(self.folder).parts:
            raise SourceError(f"{uri} leads out of {self.folder}: nothing is written there")
        return path

    def _send(self, uri: str, files: list[tuple[str, Path, int]], where: str, findings: Findings) -> Copied:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        repository = get_artifact_repository(uri, tracking_uri=self.tracking_uri)
        sent = []
        for name, path, size in files:
            content = _readable(path, f"{where}/{name}", findings)
            if content is not None:
                repository.log_artifact(str(path), name.rpartition("/")[0] or None)  # type: ignore[no-untyped-call]
                sent.append((name, size, content))
        return _copied(sent)


def _copied(files: list[tuple[str, int, str]]) -> Copied:
    if not files:
        return Copied()
    whole = hashlib.sha256()
    for name, size, content in sorted(files):
        whole.update(f"{name}\0{size}\0{content}\n".encode())
    return Copied(len(files), sum(size for _, size, _ in files), whole.hexdigest())


def digest_folder(folder: Path) -> Copied:
    """Return what a folder of copied artifacts holds."""
    found = [(name, size, digest(path)) for name, path, size in artifact_files(folder, "", folder, Findings())]
    return _copied(found)


def artifact_files(folder: Path, where: str, tree: Path, findings: Findings) -> Iterator[tuple[str, Path, int]]:
    """Yield name, path and size of each file below a folder; links that lead out of the source stay behind.

    The folder itself may lie elsewhere, by a link or a URI: then nothing may lead out of it.
    """
    begin = folder.resolve()
    tree = tree if begin.is_relative_to(tree) else begin
    pending = [(folder, "", frozenset(begin.parents))]
    while pending:
        current, prefix, above = pending.pop()
        real = current.resolve()
        if real in above:  # a link to a folder that it lies in
            continue
        for entry in _entries(current, f"{where}/{prefix}", findings):
            name, path = prefix + printable(entry.name), Path(entry.path)
            if leads_outside(path, tree):
                findings.quarantined(f"{where}/{name}", "artifact", REASON)
            elif entry.is_dir():
                pending.append((path, f"{name}/", above | {real}))
            elif max(map(len, os.fsencode(name).split(b"/"))) > LONGEST:
                findings.quarantined(f"{where}/{name}", "artifact", "its name is too long once bad bytes are replaced")
            elif entry.is_file() and os.access(path, os.R_OK):
                yield name, path, entry.stat().st_size
            else:
                findings.quarantined(f"{where}/{name}", "artifact", "is no file that can be read")


def _entries(folder: Path, where: str, findings: Findings) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
    except OSError as error:
        findings.quarantined(where, "artifact", f"cannot be read: {error.strerror}")
        return []


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _readable(path: Path, where: str, findings: Findings) -> str | None:
    """Return the SHA-256 of a file, None (and a finding) if it cannot be read to its end."""
    try:
        return digest(path)
    except OSError as error:
        findings.quarantined(where, "artifact", f"cannot be read: {error.strerror}")
        return None


def copy_file(source: Path, target: Path, size: int, wanted: str) -> None:
    """Copy a file, whose SHA-256 is `wanted`, whole or not at all, and have it on disk."""
    draft = target.with_name(f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:32]}{PARTIAL}")
    try:
        if target.exists() and target.stat().st_size == size and digest(target) == wanted:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, draft)
        if digest(draft) != wanted:
            raise SourceError(f"{source} changed while it was copied, or the disk of {target} is failing: run again")
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.replace(target)
    except OSError as error:
        raise SourceError(
            f"{source} cannot be copied to {target}: {error.strerror}; mend that and run again"
        ) from error


def folder_of(uri: str) -> Path | None:
    """Return the folder that a URI of this machine means, None for a store of its own."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(uri)
