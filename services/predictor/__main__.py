"""`python -m services.predictor`: the workers of one predictor on one port."""

import uvicorn

from services.predictor.settings import PredictorSettings
from shared import settings as configuration
from shared.telemetry import configure_logging


def main() -> None:
    """Serve until SIGTERM or SIGINT; uvicorn replaces a worker that dies."""
    settings = configuration.load(PredictorSettings)
    configure_logging("predictor", level=settings.log_level, as_json=settings.log_json)
    uvicorn.run(
        "services.predictor.app:create_app",
        factory=True,
        host=settings.host,
        port=settings.predictor_port,
        workers=settings.workers,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
