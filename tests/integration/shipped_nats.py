"""A nats-server with the files that its container gets, laid out as there."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compose.make_secrets import make
from shared.settings import BusSettings
from tests.servers import answers, free_port, running, wait_for

SHIPPED = Path(__file__).parents[2] / "compose" / "nats"
USERS = ("trainer", "promoter", "predictor", "client", "backup")


@contextmanager
def shipped_nats(root: Path, configuration: str = "nats.conf", tls: tuple[Path, Path] | None = None) -> Iterator[Path]:
    """Run it; yield the folder of the secrets, whose addresses are those of this server."""
    port, monitor, secrets = free_port(), free_port(), root / "secrets"
    for user in ("postgres", "nats", "mlflow", *USERS):
        (secrets / user).mkdir(parents=True)
    make(secrets)
    shutil.copytree(SHIPPED, root / "etc" / "nats")
    places = {"/jetstream": str(root / "jetstream")}
    if tls:
        places |= {"/run/tls/nats.crt": str(tls[0]), "/run/tls/nats.key": str(tls[1])}
    for file in (root / "etc" / "nats").glob("*.conf"):
        text = file.read_text()
        for shipped, here in places.items():
            text = text.replace(shipped, here)
        file.write_text(text)
    shutil.copytree(secrets / "nats", root / "run" / "baton")
    for user in USERS:
        url = secrets / user / "BATON_NATS_URL"
        url.chmod(0o644)
        url.write_text(url.read_text().replace("@nats:4222", f"@127.0.0.1:{port}"))
    binary = str(Path(sys.executable).parent / "nats-server")
    address = ["-a", "127.0.0.1", "-p", str(port), "-m", str(monitor)]
    with running(
        [binary, "-c", str(root / "etc" / "nats" / configuration), *address],
        root / "nats.log",
        {"BATON_NATS_SYNC": '"2m"'},
    ):
        wait_for("nats-server", answers(f"http://127.0.0.1:{monitor}/healthz"))
        yield secrets


def environment_of(secrets: Path, user: str) -> dict[str, str]:
    """Return what a user's container has in its environment for the bus."""
    found = {file.name: file.read_text() for file in (secrets / user).glob("BATON_NATS_*")}
    return found | {"BATON_DECLARE_STREAMS": str(user == "promoter")}


def settings_of(secrets: Path, user: str) -> BusSettings:
    """Return the settings of a user's connection."""
    inbox = secrets / user / "BATON_NATS_INBOX"
    return BusSettings(
        nats_url=(secrets / user / "BATON_NATS_URL").read_text(),
        nats_inbox=inbox.read_text() if inbox.exists() else "_INBOX",
        declare_streams=user == "promoter",
    )
