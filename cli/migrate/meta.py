"""Reading `meta.yaml` files, whole or damaged, without ever running code that they name.

Older scripts left Python objects in them (numpy scalars, enums). Their values are recovered from the text of the tag;
no class is looked up, imported or called.
"""

import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cli.migrate.links import REASON, leads_outside

MAX_BYTES = 16_000_000
PYTHON = "tag:yaml.org,2002:python/"
LINE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*:(?: |$)")
FORMATS = {"f2": "e", "f4": "f", "f8": "d", "b1": "?"} | {
    f"{kind}{size}": (code if kind == "i" else code.upper())
    for kind in "iu"
    for size, code in (("1", "b"), ("2", "h"), ("4", "i"), ("8", "q"))
}


@dataclass
class Meta:
    """The content of a `meta.yaml` as far as it can be read; `problems` say what is wrong with it, in words."""

    values: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    missing: bool = False

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing could be read."""
        return not self.values


class Unreadable:
    """Stands for a value whose meaning is lost; a field that finds it takes its default."""

    def __init__(self, tag: str) -> None:
        self.tag = tag

    def __repr__(self) -> str:
        return f"a Python object ({self.tag})"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML's safe loader, which also knows what the text of a Python tag says."""


def _python_tag(loader: Any, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return _scalar(suffix, node.value)
    if isinstance(node, yaml.SequenceNode):
        return _object(suffix, loader.construct_sequence(node, deep=True), None)
    content = loader.construct_mapping(node, deep=True)
    return _object(suffix, content.get("args", []), content.get("state"))


def _scalar(suffix: str, text: str) -> Any:
    if not text:
        return Unreadable(suffix)
    return text if suffix in {"str", "unicode", "bytes"} else yaml.safe_load(text)


def _object(suffix: str, arguments: list[Any], state: Any) -> Any:
    if suffix.startswith("tuple"):
        return arguments
    if suffix.endswith(":numpy.dtype"):
        return _dtype(arguments, state)
    if suffix.endswith("multiarray.scalar") and len(arguments) == 2:
        return _numpy_scalar(*arguments)
    if suffix.startswith("object/") and len(arguments) == 1 and isinstance(arguments[0], str | int | float):
        return arguments[0]  # an enum's member is made from its value
    return Unreadable(suffix)


def _dtype(arguments: list[Any], state: Any) -> str:
    order = state[1] if isinstance(state, list | tuple) and len(state) > 1 and state[1] in ("<", ">") else "<"
    return f"{order}{arguments[0].lstrip('<>|=')}" if arguments and isinstance(arguments[0], str) else "?"


def _numpy_scalar(dtype: Any, content: Any) -> Any:
    if not isinstance(dtype, str) or not isinstance(content, bytes | str):
        return Unreadable("numpy")
    order, kind = dtype[:1], dtype[1:]
    raw = content if isinstance(content, bytes) else content.encode("latin-1", "replace")
    try:
        if kind.startswith("U"):
            return raw.decode("utf-32-be" if order == ">" else "utf-32-le").rstrip("\0")
        if kind.startswith("S"):
            return raw.rstrip(b"\0").decode()
        return struct.unpack(order + FORMATS[kind], raw)[0]
    except (KeyError, struct.error, UnicodeDecodeError):
        return Unreadable(f"numpy {dtype}")


_Loader.add_multi_constructor(PYTHON, _python_tag)


def _load(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)  # nosec B506 # noqa: S506 - a SafeLoader, see above


def read_meta(path: Path, root: Path) -> Meta:
    """Read a `meta.yaml` of the source `root`; damage becomes a problem in words, never an exception."""
    if leads_outside(path, root):
        return Meta(problems=[f"{path.name} is {REASON}"])
    try:
        if path.exists() and not path.is_file():
            return Meta(problems=[f"{path.name} is no file"])
        if path.stat().st_size > MAX_BYTES:
            return Meta(problems=[f"{path.name} is larger than {MAX_BYTES:,} bytes"])
        raw = path.read_bytes()
    except FileNotFoundError:
        return Meta(missing=True, problems=[f"{path.name} is missing"])
    except OSError as error:
        return Meta(problems=[f"{path.name} cannot be read: {error.strerror}"])
    return parse_meta(raw, path.name)


def parse_meta(raw: bytes, name: str = "meta.yaml") -> Meta:
    """Return the content of a `meta.yaml`, as much of it as can be trusted."""
    problems = []
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode(errors="replace")
        problems.append(f"{name} is not UTF-8")
    if not text.strip("\0 \r\n\t"):
        return Meta(problems=[f"{name} is empty"])
    if not text.endswith("\n"):
        # MLflow ends each line; what stands in the last one may be half a value.
        text = text[: text.rfind("\n") + 1]
        problems.append(f"{name} is truncated")
    text = text.replace("\0", "")
    try:
        values = _load(text)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError):
        return Meta(_line_by_line(text), [*problems, f"{name} is not valid YAML"])
    if values is None:
        return Meta(problems=problems)
    if not isinstance(values, dict):
        return Meta(problems=[*problems, f"{name} holds a {type(values).__name__} instead of names and values"])
    values = {str(key): value for key, value in values.items()}
    if "tag:yaml.org,2002:python" in text or "!!python" in text:
        problems.append(f"{name} holds Python objects")
    return Meta(values, problems)


def _line_by_line(text: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for line in text.splitlines():
        if not LINE.match(line):
            continue
        try:
            loaded = _load(line)
        except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError):
            continue
        if isinstance(loaded, dict):
            values.update({str(key): value for key, value in loaded.items()})
    return values
