"""A folder that stands for a FileStore: MLflow makes folders in the root of what it opens, even to read."""

from pathlib import Path

MADE = (".trash", "models")


def mirrored(root: Path, folder: Path) -> Path:
    """Make an empty folder look like a FileStore by links to all that is in it, and return it."""
    for entry in root.iterdir():
        (folder / entry.name).symlink_to(entry)
    for name in MADE:
        if not (root / name).exists():
            (folder / name).mkdir(exist_ok=True)
    return folder
