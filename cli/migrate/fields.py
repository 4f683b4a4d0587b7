"""Taking typed values out of a `meta.yaml`, with a stated rule for each value that is not what it should be."""

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cli.migrate.findings import Findings
from cli.migrate.meta import Meta, Unreadable

BIGGEST = 2**63 - 1
INFINITY = 1.7976931348623157e308  # what MLflow's SQL store writes for infinity


@dataclass
class Fields:
    """One `meta.yaml` with the place that findings about it name."""

    meta: Meta
    path: str
    kind: str
    findings: Findings

    def text(self, name: str, limit: int | None = None, default: str | None = None) -> str | None:
        """Return a text; numbers become text, other things the default, what is too long is cut."""
        value = self.meta.values.get(name)
        if value is None:
            return default
        if isinstance(value, bool | int | float | str | datetime) or hasattr(value, "isoformat"):
            return cut(clean(str(value)), limit, name, self)
        self.repaired(f"{name} is {_described(value)}: {default or 'nothing'} instead")
        return default

    def integer(self, name: str, default: int | None = None) -> int | None:
        """Return a whole number, of milliseconds if it is a time."""
        value = self.meta.values.get(name)
        if value is None:
            return default
        number = to_integer(value)
        if number is None:
            self.repaired(f"{name} is {_described(value)} instead of a whole number: {default or 'nothing'} instead")
            return default
        return number

    def choice(self, name: str, choices: Mapping[Any, str], default: str) -> str:
        """Return one of a few words, by the word itself or by its old number."""
        value = self.meta.values.get(name)
        if value is None:
            return default
        if isinstance(value, str) and (word := value.rsplit(".", 1)[-1]) in choices.values():
            return word
        if isinstance(value, int | str) and str(value) in {str(key) for key in choices}:
            return next(word for key, word in choices.items() if str(key) == str(value))
        self.repaired(f"{name} is {_described(value)}, which MLflow does not know: {default} instead")
        return default

    def repaired(self, reason: str) -> None:
        """Note a repair of this item."""
        self.findings.repaired(self.path, self.kind, reason)


def to_integer(value: Any) -> int | None:
    """Return a value as a whole number that fits PostgreSQL's bigint, None if it is none."""
    if isinstance(value, datetime):
        return int(value.timestamp() * 1000)
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
            return None
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if -BIGGEST <= number <= BIGGEST else None


def clean(text: str) -> str:
    """Take out what PostgreSQL cannot hold."""
    return text.replace("\0", "").encode(errors="replace").decode()  # NUL, and halves of surrogate pairs


def cut(text: str, limit: int | None, what: str, fields: Fields) -> str:
    """Cut a text at a column's limit, in characters, and say so."""
    if limit is None or len(text) <= limit:
        return text
    fields.repaired(f"{what} has {len(text):,} characters, and MLflow's database holds {limit:,}: cut")
    return text[:limit]


def shown(value: Any, limit: int) -> str:
    """Return a value as text, cut at a limit; of lists within lists little, for YAML makes huge ones of few bytes."""
    if isinstance(value, bool | int | float | str):
        return str(value)[:limit]
    return reprlib.repr(value)[:limit]


def _described(value: Any) -> str:
    if isinstance(value, Unreadable):
        return repr(value)
    text = repr(value) if isinstance(value, str) else shown(value, 41)
    return f"{text[:40]}{'…' if len(text) > 40 else ''}"
