"""Makes the secrets of a stack of containers, once: a folder per service, and in it only what that service needs.

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

BUS_USERS = ("trainer", "promoter", "predictor", "client", "backup")
WITH_INBOX = (
    "trainer",
    "promoter",
    "predictor",
    "backup",
)  # of its own; people's programs have what every client of NATS has
DATABASE_USERS = ("mlflow", "promoter", "mlflow_auth")
MLFLOW_USERS = ("trainer", "promoter")


def make(folder: Path, nodes: Sequence[str] = ("nats",)) -> None:
    """Write what is missing; what was written before stays as it is. `nodes` are the hosts that NATS answers on."""
    if (folder / "postgres" / "made").exists():
        return
    for name in ("nats", "postgres", "mlflow", "grafana", *BUS_USERS):
        (folder / name).mkdir(parents=True, exist_ok=True)
    bus = {user: secrets.token_urlsafe(24) for user in BUS_USERS}
    database = {user: secrets.token_urlsafe(24) for user in DATABASE_USERS}
    for user, password in bus.items():
        write(folder / user / "BATON_NATS_URL", ",".join(f"nats://{user}:{password}@{node}:4222" for node in nodes))
        if user in WITH_INBOX:
            write(folder / user / "BATON_NATS_INBOX", f"_INBOX_{user}")
    write(folder / "nats" / "passwords.conf", "".join(f'{user}_password: "{bus[user]}"\n' for user in BUS_USERS))
    write(folder / "nats" / "routes.conf", routes(nodes, secrets.token_urlsafe(24)))
    for user, password in database.items():
        write(folder / "postgres" / f"{user}_password", password)
    for name, holder in (("BATON_API_KEY", "predictor"), ("BATON_TOKEN", "promoter")):
        key = f"baton_{secrets.token_urlsafe(32)}"
        write(folder / "client" / name, key)
        write(folder / holder / "keys", f"client:{sha256(key.encode()).hexdigest()}\n", mode=0o644)  # others join it
    mlflow, promoter, auth = (f"{user}:{database[user]}@postgres:5432" for user in DATABASE_USERS)
    write(folder / "mlflow" / "MLFLOW_BACKEND_STORE_URI", f"postgresql+psycopg2://{mlflow}/baton")
    write(folder / "promoter" / "BATON_DATABASE_URL", f"postgresql://{promoter}/baton")
    write(folder / "backup" / "BATON_DATABASE_URL", f"postgresql://{promoter}/baton")
    write(folder / "mlflow" / "auth_database", f"postgresql+psycopg2://{auth}/mlflow_auth")
    write(folder / "mlflow" / "MLFLOW_AUTH_ADMIN_PASSWORD", secrets.token_urlsafe(24))
    write(folder / "mlflow" / "MLFLOW_FLASK_SERVER_SECRET_KEY", secrets.token_urlsafe(24))
    users = {user: secrets.token_urlsafe(24) for user in MLFLOW_USERS}
    write(folder / "mlflow" / "users", "".join(f"{user}:{password}\n" for user, password in users.items()))
    for user, password in users.items():
        write(folder / user / "MLFLOW_TRACKING_USERNAME", user)
        write(folder / user / "MLFLOW_TRACKING_PASSWORD", password)
    write(folder / "postgres" / "superuser_password", secrets.token_urlsafe(24))
    write(folder / "grafana" / "admin_password", secrets.token_urlsafe(24))
    write(folder / "postgres" / "made", "")  # last: a start that was interrupted begins again


def routes(nodes: Sequence[str], password: str) -> str:
    """Return what lets NATS servers be one cluster, and nobody else join it."""
    addresses = ", ".join(f'"nats://node:{password}@{node}:6222"' for node in nodes)
    return f'authorization {{ user: node, password: "{password}", timeout: 5 }}\nroutes: [{addresses}]\n'


def write(path: Path, text: str, mode: int = 0o444) -> None:
    """Write a secret."""
    path.unlink(missing_ok=True)  # one that an interrupted start left is read-only
    path.write_text(text)
    path.chmod(mode)


if __name__ == "__main__":
    make(Path(sys.argv[1]), sys.argv[2:] or ("nats",))
