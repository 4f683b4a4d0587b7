"""Starts a container's command with its secrets and with what the user put into `baton-config`.

Each file in /run/baton is an environment variable of that name; each part of /config that exists sets one.

In a container a service is bound to every address, so BATON_BIND, where its port is published, says who reaches it: on
loopback only this machine does, and nobody is asked for a key to predict, a token to read, or a password for MLflow. A
variable that is empty says nothing.

BATON_CACHES is a folder with a cache for each of the predictors that share it: they come and go, and their caches stay.
"""

import fcntl
import ipaddress
import itertools
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


def own_cache(caches: Path) -> Path:
    """Take a cache that no other predictor has, until this process ends: the one that heard of a champion last."""
    known = sorted(caches.glob("[0-9]*"), key=_heard_last, reverse=True)
    new = (caches / str(number) for number in itertools.count(1))
    return next(folder for folder in itertools.chain(known, new) if _taken(folder))


def _heard_last(cache: Path) -> float:
    champions = cache / "champions"  # a change is written there by a rename
    return champions.stat().st_mtime if champions.exists() else 0.0


def _taken(cache: Path) -> bool:
    cache.mkdir(exist_ok=True)
    lock = os.open(cache / "taken", os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    os.set_inheritable(lock, True)  # by the command that this process becomes
    return True


def main(command: list[str]) -> None:
    """Become the command."""
    given = {name: value for name, value in os.environ.items() if value}
    told = {**environment(SECRETS, CONFIG, given), **given}
    if "BATON_CACHES" in told and "BATON_CACHE_DIR" not in told:
        told["BATON_CACHE_DIR"] = str(own_cache(Path(told["BATON_CACHES"])))
    os.execvpe(command[0], command, told)  # nosec B606 # noqa: S606 - the image's own command


if __name__ == "__main__":
    main(sys.argv[1:])
