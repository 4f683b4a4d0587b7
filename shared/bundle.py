"""The bundle: one content-addressed archive per model version, everything that a predictor needs and nothing else.

An uncompressed, deterministic tar of `manifest.json`, `golden.json` and the model file. The manifest names the SHA-256
of every other file, and the bundle's digest is the SHA-256 of the manifest as canonical JSON: one digest fixes it all.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.archives import plain_files
from shared.errors import BundleError

MANIFEST, GOLDEN = "manifest.json", "golden.json"
MODEL_FILES = {"onnx": "model.onnx", "sklearn": "model.skops", "pyfunc": "model.pyfunc.tar"}
DTYPES: dict[str, Any] = {
    "double": np.float64,
    "float": np.float32,
    "long": np.int64,
    "integer": np.int32,
    "boolean": np.bool_,
    "string": np.object_,
}

RuntimeKind = Literal["onnx", "sklearn", "pyfunc"]
Label = bool | int | float | str
Columns = Mapping[str, np.ndarray]
"""One array of shape (rows,) per input column."""


class Block(Columns):
    """Columns of one type, kept as the matrix of shape (rows, columns) that they came as.

    `is_usual` says that every value is known to be within what training saw.
    """

    def __init__(self, names: Sequence[str], matrix: np.ndarray, *, is_usual: bool = False) -> None:
        self.matrix = matrix
        self.is_usual = is_usual
        self._names = names

    def __getitem__(self, name: str) -> np.ndarray:
        """Return one column; raise `KeyError` for a name that is none."""
        if name not in self._names:
            raise KeyError(name)
        column: np.ndarray = self.matrix[:, self._names.index(name)]
        return column

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, in the matrix's order."""
        return iter(self._names)

    def __len__(self) -> int:
        """Return how many columns there are."""
        return len(self._names)


def count(columns: Columns) -> int:
    """Return how many rows columns have."""
    return len(columns.matrix if type(columns) is Block else next(iter(columns.values())))


class Column(BaseModel):
    """One input of a model: its name, its MLflow signature type, and whether it may be left out or null.

    `minimum` and `maximum` are of the numbers seen in training, `categories` the texts in sorted order; None where the
    training rows are not known, or hold too many texts to list.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    type: Literal["double", "float", "long", "integer", "boolean", "string"]
    required: bool = True
    minimum: float | None = None
    maximum: float | None = None
    categories: list[str] | None = None

    def array(self, values: list[Any]) -> np.ndarray:
        """Return values as this column's array; None becomes NaN in a floating column."""
        return np.asarray(values, dtype=DTYPES[self.type])


class Output(BaseModel):
    """What a model answers.

    `classes` is in the order of the probabilities' columns; empty for regression, and where a model does not say.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["classification", "regression"]
    classes: list[Label] = []
    probabilities: bool = False


class Manifest(BaseModel):
    """What is in a bundle. Not the model's name or version: MLflow may change those."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    inputs: list[Column]
    output: Output
    runtime: RuntimeKind
    runtime_reason: str
    tolerance: float
    libraries: dict[str, str]
    files: dict[str, str]

    def canonical(self) -> bytes:
        """Return the manifest as canonical JSON: sorted keys, UTF-8, no spaces, nothing that is not known."""
        # Without what is None, a field that is added later leaves the digests of older bundles as they are.
        known = self.model_dump(mode="json", exclude_none=True)
        return json.dumps(known, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def digest(self) -> str:
        """Return the bundle's digest, `sha256:` and 64 hexadecimal digits."""
        return "sha256:" + hashlib.sha256(self.canonical()).hexdigest()

    def arrays(self, columns: Mapping[str, list[Any]]) -> Columns:
        """Return lists of values as one array per input, in the model's order."""
        return {column.name: column.array(columns[column.name]) for column in self.inputs}


class Golden(BaseModel):
    """Rows with the answers that the model gave when it was trained.

    `columns` holds one list per input; `predictions` one label or value per row; `probabilities` one list per row.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[str, list[Any]]
    predictions: list[Label]
    probabilities: list[list[float]] | None = None


def file_digest(content: bytes) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def write(archive: Path, manifest: Manifest, files: Mapping[str, bytes]) -> str:
    """Write a bundle's archive; the same content gives the same bytes. Return its digest."""
    contents = {MANIFEST: manifest.canonical(), **files}
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(contents):
            member = tarfile.TarInfo(name)  # owner, mode and time are constants of TarInfo
            member.size = len(contents[name])
            tar.addfile(member, io.BytesIO(contents[name]))
    return manifest.digest()


def is_compiled(archive: Path) -> bool:
    """Tell, by the names of the files in a bundle, whether its model is compiled; nothing of it is checked."""
    with suppress(tarfile.TarError, OSError), archive.open("rb") as file:
        return any(name == MODEL_FILES["onnx"] for name, _ in plain_files(file))
    return False


def unpack(archive: Path, folder: Path, digest: str) -> Manifest:
    """Write a bundle's files into a folder after checking every digest; raise `BundleError`.

    The check is `digest`, or `schema` for a whole manifest that says what is not known here. That an archive is gone,
    or cannot be read by this host, is raised as it came: it speaks against no bundle.
    """
    contents = _read(archive)
    manifest = _manifest(contents.pop(MANIFEST, b""), digest)
    _check_files(manifest, contents)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / MANIFEST).write_bytes(manifest.canonical())
    return manifest


def _read(archive: Path) -> dict[str, bytes]:
    try:
        with archive.open("rb") as file:
            return {name: file.read(size) for name, size in plain_files(file)}
    except tarfile.TarError as error:
        raise BundleError(f"the bundle's archive cannot be read: {error}", "digest") from error


def _manifest(content: bytes, digest: str) -> Manifest:
    """Read a manifest that is what was packed; one of a newer Baton may say what is not known here."""
    if (found := f"sha256:{file_digest(content)}") != digest:
        raise BundleError(f"the bundle's digest is {found}, expected {digest}", "digest")
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise BundleError(f"the bundle's {MANIFEST} cannot be read here: {error}", "schema") from error


def _check_files(manifest: Manifest, contents: Mapping[str, bytes]) -> None:
    if contents.keys() != manifest.files.keys():
        raise BundleError(f"the bundle holds {sorted(contents)}, its manifest {sorted(manifest.files)}", "digest")
    for name, content in contents.items():
        if file_digest(content) != manifest.files[name]:
            raise BundleError(f"{name} in the bundle is not the file that was packed", "digest")


def read_golden(folder: Path) -> Golden:
    """Read the golden rows of an unpacked bundle."""
    return Golden.model_validate_json((folder / GOLDEN).read_bytes())
