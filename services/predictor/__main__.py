"""`python -m services.predictor`: the workers of one predictor on one port."""

import uvicorn
from uvicorn.supervisors import Multiprocess

from services.predictor.settings import PredictorSettings
from shared import settings as configuration
from shared.telemetry import configure_logging

FINISH_WITHIN_S = 5


def main() -> None:
    """Serve until SIGTERM or SIGINT; a worker that dies or hangs is replaced.

    The port listens before the first worker is there and as long as this process lives: who comes while no worker is
    ready waits, and is not refused.
    """
    settings = configuration.load(PredictorSettings)
    configure_logging("predictor", level=settings.log_level, as_json=settings.log_json)
    config = uvicorn.Config(
        "services.predictor.app:create_app",
        factory=True,
        host=settings.host,
        port=settings.predictor_port,
        workers=settings.workers,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=FINISH_WITHIN_S,
    )
    listener = config.bind_socket()
    listener.listen(config.backlog)
    Multiprocess(config, sockets=[listener]).run()


if __name__ == "__main__":
    main()
