"""Symbolic links: what they lead to is read only within the source."""

from pathlib import Path

from cli.migrate.findings import Findings

REASON = "a symbolic link that leads out of the source or nowhere"


def leads_outside(path: Path, root: Path) -> bool:
    """Tell whether a symbolic link leads out of the source, or nowhere."""
    try:
        return path.is_symlink() and not path.resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):
        return True


def is_led_outside(path: Path, root: Path, where: str, kind: str, findings: Findings) -> bool:
    """Tell (and note) whether a folder, or the one that it lies in, is a link that leads out of the source."""
    outside = leads_outside(path, root) or leads_outside(path.parent, root)
    if outside:
        findings.quarantined(where, kind, REASON)
    return outside
