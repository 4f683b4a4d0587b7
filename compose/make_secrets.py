"""Makes the secrets of a stack of containers: a folder per service, and in it only what that service needs.

Each folder is a volume of its own, mounted read-only by its service alone; that is what keeps secrets apart, not the
modes of the files, which people of different ids have to read.

    python make_secrets.py FOLDER [NATS_SERVER...]

Where NATS runs on several hosts, name them: the folder has to be made once, and each host gets what its services need.
"""

import secrets
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

BUS_USERS = ("trainer", "promoter", "predictor", "client", "backup")
WITH_OWN_INBOX = frozenset(BUS_USERS) - {"client"}  # people's programs have what every client of NATS has
DATABASE_USERS = ("mlflow", "promoter", "mlflow_auth")
MLFLOW_USERS = ("trainer", "promoter", "backup")


def make(folder: Path, nodes: Sequence[str] = ("nats",)) -> None:
    """Write what is missing; what was written before stays as it is. `nodes` are the hosts that NATS answers on."""
    for name in ("nats", "postgres", "mlflow", "grafana", *BUS_USERS):
        (folder / name).mkdir(parents=True, exist_ok=True)
    make_bus(folder, nodes)
    make_keys(folder)
    make_database(folder)
    make_mlflow(folder)
    kept(folder / "grafana" / "admin_password", secrets.token_urlsafe(24))


def make_bus(folder: Path, nodes: Sequence[str]) -> None:
    """Write each user's address of the bus, and for NATS what the users' passwords are."""
    passwords = []
    for user in BUS_USERS:
        new = secrets.token_urlsafe(24)
        url = kept(folder / user / "BATON_NATS_URL", ",".join(f"nats://{user}:{new}@{node}:4222" for node in nodes))
        passwords.append(f'{user}_password: "{urlsplit(url.split(",")[0]).password}"\n')
        if user in WITH_OWN_INBOX:
            kept(folder / user / "BATON_NATS_INBOX", f"_INBOX_{user}")
    write(folder / "nats" / "passwords.conf", "".join(passwords))
    kept(folder / "nats" / "routes.conf", routes(nodes, secrets.token_urlsafe(24)))


def make_keys(folder: Path) -> None:
    """Write a first key for predictions and a first token for commands, and the files of hashes, which others join."""
    for name, holder in (("BATON_API_KEY", "predictor"), ("BATON_TOKEN", "promoter")):
        key = kept(folder / "client" / name, f"baton_{secrets.token_urlsafe(32)}")
        kept(folder / holder / "keys", f"client:{sha256(key.encode()).hexdigest()}\n", mode=0o644)


def make_database(folder: Path) -> None:
    """Write the passwords of PostgreSQL's roles, and each service's address of its database."""
    kept(folder / "postgres" / "superuser_password", secrets.token_urlsafe(24))
    mlflow, promoter, auth = (
        f"{user}:{kept(folder / 'postgres' / f'{user}_password', secrets.token_urlsafe(24))}@postgres:5432"
        for user in DATABASE_USERS
    )
    kept(folder / "mlflow" / "MLFLOW_BACKEND_STORE_URI", f"postgresql+psycopg2://{mlflow}/baton")
    kept(folder / "mlflow" / "auth_database", f"postgresql+psycopg2://{auth}/mlflow_auth")
    for user in ("promoter", "backup"):
        kept(folder / user / "BATON_DATABASE_URL", f"postgresql://{promoter}/baton")


def make_mlflow(folder: Path) -> None:
    """Write each service's account at MLflow, and for MLflow which there are."""
    for name in ("MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"):
        kept(folder / "mlflow" / name, secrets.token_urlsafe(24))
    accounts = []
    for user in MLFLOW_USERS:
        kept(folder / user / "MLFLOW_TRACKING_USERNAME", user)
        password = kept(folder / user / "MLFLOW_TRACKING_PASSWORD", secrets.token_urlsafe(24))
        accounts.append(f"{user}:{password}\n")
    write(folder / "mlflow" / "users", "".join(accounts))


def routes(nodes: Sequence[str], password: str) -> str:
    """Return what lets NATS servers be one cluster, and nobody else join it."""
    addresses = ", ".join(f'"nats://node:{password}@{node}:6222"' for node in nodes)
    return f'authorization {{ user: node, password: "{password}", timeout: 5 }}\nroutes: [{addresses}]\n'


def kept(path: Path, new: str, mode: int = 0o444) -> str:
    """Return what a file holds; write `new` to it first if there is none."""
    if not path.exists():
        write(path, new, mode)
    return path.read_text()


def write(path: Path, text: str, mode: int = 0o444) -> None:
    """Write a file, which is there whole or not at all: what an interrupted start leaves is not half a secret."""
    draft = path.with_name(f".{path.name}")
    draft.unlink(missing_ok=True)
    draft.write_text(text)
    draft.chmod(mode)
    draft.replace(path)


if __name__ == "__main__":
    make(Path(sys.argv[1]), sys.argv[2:] or ("nats",))
