"""The lineage of a model's champions: to which versions one can go back."""

from collections.abc import Iterable
from dataclasses import dataclass

from shared.events import Action


@dataclass(frozen=True)
class Step:
    """One change of a champion: who it became (None: nobody), and by which action if Baton made it."""

    version: str | None
    action: Action | None = None


def predecessors(steps: Iterable[Step]) -> list[str]:
    """Return the versions that were champion before the last one, nearest first.

    A rollback takes back what came after its version, so rolling back twice goes two versions back.
    """
    steps = list(steps)
    line: list[str] = []
    for step in steps:
        if step.version is None:
            continue
        if step.action == "rollback" and step.version in line:
            del line[len(line) - line[::-1].index(step.version) :]
        elif line[-1:] != [step.version]:
            line.append(step.version)
    champion = steps[-1].version if steps else None
    return [version for version in dict.fromkeys(reversed(line)) if version != champion]
