"""Starts a container's command with its secrets and with what the user put into `baton-config`.

Each file in /run/baton is an environment variable of that name; each part of /config that exists sets one.
"""

import os
import sys
from pathlib import Path

SECRETS, CONFIG = Path("/run/baton"), Path("/config")
CONFIGURABLE = {
    "promotion.yaml": "BATON_POLICY_FILE",
    "datasets.yaml": "BATON_DATASETS",
    "data": "BATON_DATA_ROOTS",
    "recipes": "BATON_RECIPES_DIR",
}


def environment(secrets: Path, config: Path) -> dict[str, str]:
    """Return the variables that a container's folders stand for."""
    secret = {file.name: file.read_text() for file in sorted(secrets.glob("[A-Z]*"))}
    chosen = {variable: str(config / name) for name, variable in CONFIGURABLE.items() if (config / name).exists()}
    return secret | chosen


if __name__ == "__main__":
    os.execvpe(  # noqa: S606 - the image's own command
        sys.argv[1], sys.argv[1:], {**environment(SECRETS, CONFIG), **os.environ}
    )
