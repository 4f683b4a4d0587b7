"""`python -m services.predictor`: the workers of one predictor on one port."""

import math
import os
import socket
import sys
import time

import uvicorn
from uvicorn.supervisors import Multiprocess

from services.predictor import meters
from services.predictor.connection import Connection
from services.predictor.settings import PredictorSettings
from shared import settings as configuration
from shared.errors import SettingsError
from shared.keys import Keys
from shared.telemetry import configure_logging
from shared.tls import nats_context

STARTS_WITHIN_S = 30  # a worker that says nothing for so long hangs; one that imports on a busy machine is silent, too
CLOSES_WITHIN_S = 5  # after its last request: the bus, and what is to be written down
TUNABLES, LARGE_PAGES = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"


class Workers(Multiprocess):
    """The workers; while they stop, who comes is refused, and does not wait for one that will never be there.

    One that has not ended after `ends_within_s` is killed: a model that hangs on its event loop lets it hear no signal.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], ends_within_s: float) -> None:
        super().__init__(config, sockets)
        self._ends_within_s = ends_within_s

    def terminate_all(self) -> None:
        """Stop listening as far as this process is concerned, and tell the workers to end."""
        for listener in self.sockets:
            listener.close()
        super().terminate_all()

    def join_all(self) -> None:
        """Wait for the workers, all of which were told to end."""
        ends = time.monotonic() + self._ends_within_s
        for worker in self.processes:
            worker.process.join(max(ends - time.monotonic(), 0))
            worker.process.kill()  # does nothing to one that ended
        super().join_all()


def main() -> None:
    """Serve until SIGTERM or SIGINT; exit with 1 and one sentence if the settings cannot be used."""
    try:
        settings = configuration.load(PredictorSettings)
        if settings.asks_for_keys:
            Keys(settings.api_keys_file).read()
        nats_context(settings)
    except SettingsError as error:
        sys.exit(str(error))
    serve(settings)


def serve(settings: PredictorSettings) -> None:
    """Serve; a worker that dies or hangs is replaced.

    The port listens before the first worker is there and as long as this process lives: who comes while no worker is
    ready waits, and is not refused.
    """
    requests_end_within_s = math.ceil(settings.request_timeout_s) + 1  # each request ends by its own deadline
    configure_logging("predictor", level=settings.log_level, as_json=settings.log_json)
    os.environ[TUNABLES] = with_large_pages(os.environ.get(TUNABLES, ""))
    config = uvicorn.Config(
        "services.predictor.app:create_app",
        factory=True,
        host=settings.host,
        port=settings.predictor_port,
        workers=settings.workers,
        loop="uvloop",
        http=Connection,
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nothing here depends on who asks
        timeout_worker_healthcheck=STARTS_WITHIN_S,
        timeout_graceful_shutdown=requests_end_within_s,
    )
    listener = config.bind_socket()
    listener.listen(config.backlog)
    port = listener.getsockname()[1]  # of no other process, so it names what is this one's own
    meters.share(settings.cache_dir.absolute() / f"metrics-{port}")
    Workers(config, [listener], settings.drain_s + requests_end_within_s + CLOSES_WITHIN_S).run()


def with_large_pages(tunables: str) -> str:
    """Add to glibc's tunables that memory is in pages of 2 MB, where Linux has some; leave what is said of it already.

    A row's walk through a large forest meets thousands of pages, more than a processor remembers the places of. A
    worker's glibc reads it when it starts, from 2.35 on.
    """
    return tunables if LARGE_PAGES in tunables else f"{tunables}:{LARGE_PAGES}=1".lstrip(":")


if __name__ == "__main__":
    main()
