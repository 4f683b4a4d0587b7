"""Starts a container's command with its secrets and with what the user put into `baton-config`.

Each file in /run/baton is an environment variable of that name; each part of /config that exists sets one.

In a container a service is bound to every address, so BATON_BIND, where its port is published, says who reaches it: on
loopback only this machine does, and nobody is asked for a key to predict, a token to read, or a password for MLflow. A
variable that is empty says nothing.
"""

import ipaddress
import os
import sys
from collections.abc import Mapping
from pathlib import Path

SECRETS, CONFIG = Path("/run/baton"), Path("/config")
CONFIGURABLE = {
    "promotion.yaml": "BATON_POLICY_FILE",
    "datasets.yaml": "BATON_DATASETS",
    "data": "BATON_DATA_ROOTS",
    "recipes": "BATON_RECIPES_DIR",
}


def environment(secrets: Path, config: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a container's folders, and the address that its port is published on, stand for."""
    secret = {file.name: file.read_text() for file in sorted(secrets.glob("[A-Z]*"))}
    chosen = {variable: str(config / name) for name, variable in CONFIGURABLE.items() if (config / name).exists()}
    bound = given.get("BATON_BIND", "")
    return secret | chosen | (on_loopback(bound) if is_loopback(bound) else {})


def on_loopback(address: str) -> dict[str, str]:
    """Return what holds where only this machine asks, by names that no page can have made up for this address."""
    names = dict.fromkeys(("localhost", "127.0.0.1", "[::1]", address, "promoter"))
    return {
        "BATON_API_KEYS": "off",
        "BATON_OPEN_READS": "on",
        "BATON_MLFLOW_AUTH": "off",
        "BATON_ALLOWED_HOSTS": ",".join(names),
    }


def is_loopback(address: str) -> bool:
    """Say whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    given = {name: value for name, value in os.environ.items() if value}
    os.execvpe(  # nosec B606 # noqa: S606 - the image's own command
        sys.argv[1], sys.argv[1:], {**environment(SECRETS, CONFIG, given), **given}
    )
