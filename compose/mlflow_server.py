"""Starts MLflow in its container, with basic auth unless BATON_MLFLOW_AUTH is `off`.

The users' passwords are secrets of this container; each service has its own. Who has an account may read;
services may also do what their work needs, and the administrator everything.

It answers under its name here, loopback's, the address that its port is published on, and those of BATON_MLFLOW_HOSTS.
"""

import os
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

CONFIGURATION = """\
[mlflow]
default_permission = READ
database_uri = {database}
admin_username = admin
auth_cache_ttl_seconds = 60
"""
GRANTS = {
    "trainer": {"experiment": "EDIT", "registered_model": "EDIT"},
    "promoter": {"experiment": "EDIT", "registered_model": "MANAGE"},
    "backup": {"experiment": "EDIT"},  # artifacts, which a restore puts back
}
HERE = ("localhost", "127.0.0.1", "mlflow")
NAME = re.compile(r"[\w.-]+(:\d+)?", re.ASCII)


def reached(bound: str, port: str, more: str) -> dict[str, str]:
    """Return what tells MLflow under which names it may be asked, and that its own pages may ask it there.

    `bound` and `port` are where it is published, `more` are names besides, with commas between them. Origins are said
    literally: MLflow lets read whoever's origin begins as a pattern does, and takes brackets for one.
    """
    besides = [name for name in map(str.strip, more.split(",")) if name]
    for name in besides:
        if not NAME.fullmatch(name):
            raise SystemExit(f"BATON_MLFLOW_HOSTS: {name!r} is no name of a host, as mlflow.example.com or 10.0.0.1")
    named = [bound, *besides] if NAME.fullmatch(bound) else besides
    origins = [
        f"{scheme}://{name}" for host in named for name in (host, f"{host}:{port}") for scheme in ("http", "https")
    ]
    return {
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(f"{name},{name}:*" for name in (*HERE, *named)),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins),
    }


def prepare(secrets: Path, configuration: Path) -> None:
    """Make MLflow's users, and tell its server where they are."""
    database = (secrets / "auth_database").read_text()
    configuration.write_text(CONFIGURATION.format(database=database))
    os.environ["MLFLOW_AUTH_CONFIG_PATH"] = str(configuration)  # MLflow reads it when it is imported
    make_users(database, (line.split(":", 1) for line in (secrets / "users").read_text().splitlines()))


def make_users(database: str, users: Iterable[list[str]]) -> None:
    """Make the users that are missing, each with its grants."""
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore()
    store.init_db(database)  # type: ignore[no-untyped-call]
    for name, password in users:
        if not store.has_user(name):
            store.create_user(name, password)
        for kind, permission in GRANTS[name].items():
            store.grant_user_permission(name, kind, "*", permission)


def main(command: list[str], secrets: Path) -> None:
    """Become MLflow's server."""
    told = (os.environ.get(f"BATON_{name}", "") for name in ("BIND", "MLFLOW_PORT", "MLFLOW_HOSTS"))
    os.environ.update(reached(*told))
    if os.environ.get("BATON_MLFLOW_AUTH") != "off":
        prepare(secrets, Path(tempfile.mkdtemp()) / "basic_auth.ini")
        command = [*command, "--app-name", "basic-auth"]
    os.execvp(command[0], command)  # nosec B606 # noqa: S606 - the image's own command


if __name__ == "__main__":
    main(sys.argv[2:], Path(sys.argv[1]))
