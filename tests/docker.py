"""Docker on this machine."""

import shutil
import subprocess


def compose() -> list[str] | None:
    """Return the command of Docker Compose, None if it is not installed."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        return None
    return [docker, "compose"]
