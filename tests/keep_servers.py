"""Keeps the tests' servers running until Ctrl-C and prints what to set so that pytest uses them.

MLflow needs half a minute to start on an empty database; who runs one test again and again need not wait for it.
"""

import signal
import tempfile
import threading
from pathlib import Path

from tests.servers import mlflow_server, nats_server, postgres_server


def main() -> None:
    """Start the servers, print their addresses as shell assignments, and wait to be told to stop."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with (
        tempfile.TemporaryDirectory(prefix="baton-test-servers-") as name,
        nats_server(Path(name)) as nats,
        postgres_server(Path(name)) as database,
        mlflow_server(Path(name), database) as mlflow,
    ):
        addresses = {"NATS_URL": nats, "DATABASE_URL": database, "TRACKING_URI": mlflow}
        for variable, address in addresses.items():
            print(f"export BATON_TEST_{variable}='{address}'", flush=True)
        stopped.wait()


if __name__ == "__main__":
    main()
