"""Makes the secrets of a stack of containers, once: a folder per service, and in it only what that service needs.

Each folder is a volume of its own, mounted read-only by its service alone; that is what keeps secrets apart, not the
modes of the files, which people of different ids have to read.
"""

import secrets
import sys
from hashlib import sha256
from pathlib import Path

BUS_USERS = ("trainer", "promoter", "predictor", "client")
DATABASE_USERS = ("mlflow", "promoter")


def make(folder: Path) -> None:
    """Write what is missing; what was written before stays as it is."""
    if (folder / "postgres" / "made").exists():
        return
    bus = {user: secrets.token_urlsafe(24) for user in BUS_USERS}
    database = {user: secrets.token_urlsafe(24) for user in DATABASE_USERS}
    for user, password in bus.items():
        write(folder / user / "BATON_NATS_URL", f"nats://{user}:{password}@nats:4222")
    write(folder / "nats" / "passwords.conf", "".join(f'{user}_password: "{bus[user]}"\n' for user in BUS_USERS))
    for user, password in database.items():
        write(folder / "postgres" / f"{user}_password", password)
    for name, holder in (("BATON_API_KEY", "predictor"), ("BATON_TOKEN", "promoter")):
        key = f"baton_{secrets.token_urlsafe(32)}"
        write(folder / "client" / name, key)
        write(folder / holder / "keys", f"client:{sha256(key.encode()).hexdigest()}\n")
    address = "{user}:{password}@postgres:5432/baton"
    mlflow, promoter = (address.format(user=user, password=database[user]) for user in DATABASE_USERS)
    write(folder / "mlflow" / "MLFLOW_BACKEND_STORE_URI", f"postgresql+psycopg2://{mlflow}")
    write(folder / "promoter" / "BATON_DATABASE_URL", f"postgresql://{promoter}")
    write(folder / "postgres" / "superuser_password", secrets.token_urlsafe(24))
    write(folder / "postgres" / "made", "")  # last: a start that was interrupted begins again


def write(path: Path, text: str) -> None:
    """Write a secret."""
    path.unlink(missing_ok=True)  # one that an interrupted start left is read-only
    path.write_text(text)
    path.chmod(0o444)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
