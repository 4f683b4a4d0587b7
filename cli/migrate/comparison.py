"""Comparing source and target kind by kind: how many, a digest over all contents, and what differs."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import orjson

MOST = 200
MODULUS = 1 << 256


@dataclass
class Tally:
    """One kind on both sides; a digest is a sum over items, so that their order does not matter."""

    source: int = 0
    target: int = 0
    source_digest: int = 0
    target_digest: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the tally as it is reported."""
        return {
            "source": self.source,
            "target": self.target,
            "source_digest": f"sha256-sum:{self.source_digest:064x}",
            "target_digest": f"sha256-sum:{self.target_digest:064x}",
            "equal": (self.source, self.source_digest) == (self.target, self.target_digest),
        }


@dataclass
class Comparison:
    """What was compared so far."""

    kinds: dict[str, Tally] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    different: int = 0

    def compare(self, kind: str, key: str, source: Any, target: Any) -> None:
        """Compare what both sides say of one item, or of all items of a kind that belong to one `key`.

        A list or dictionary counts by its members; None means that the item is not there.
        """
        tally = self.kinds.setdefault(kind, Tally())
        tally.source += _count(source)
        tally.target += _count(target)
        digests = _digest(kind, key, source), _digest(kind, key, target)
        tally.source_digest = (tally.source_digest + digests[0]) % MODULUS
        tally.target_digest = (tally.target_digest + digests[1]) % MODULUS
        if digests[0] != digests[1]:
            self.different += 1
            if len(self.differences) < MOST:
                self.differences.append(f"{kind} of {key}: {_first_difference(source, target)}")

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as it is reported."""
        return {
            "kinds": {kind: tally.to_json() for kind, tally in self.kinds.items()},
            "differences": self.differences,
            "different": self.different,
        }


@dataclass(frozen=True)
class Item:
    """One item, which counts as one whatever it holds."""

    content: dict[str, Any]


@dataclass(frozen=True)
class Many:
    """More members than fit into memory: their number and a digest over them."""

    count: int
    digest: str


def _count(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, Many):
        return value.count
    return 1 if isinstance(value, Item) else len(value)


def _plain(value: Any) -> Any:
    return value.content if isinstance(value, Item) else value


def _digest(kind: str, key: str, value: Any) -> int:
    if not _count(value):
        return 0
    content = orjson.dumps([kind, key, _plain(value)], option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return int.from_bytes(hashlib.sha256(content).digest())


def _first_difference(source: Any, target: Any) -> str:
    source, target = _plain(source), _plain(target)
    if source is None or target is None:
        return f"not in the {'source' if source is None else 'target'}"
    if isinstance(source, dict) and isinstance(target, dict):
        for name in sorted(source.keys() | target.keys()):
            if source.get(name) != target.get(name):
                return f"{name}: {_short(source.get(name))} in the source, {_short(target.get(name))} in the target"
    return f"{_short(source)} in the source, {_short(target)} in the target"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
