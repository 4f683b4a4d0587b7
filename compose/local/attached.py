"""Parts that the user already runs: they are asked whether they answer, and otherwise left alone."""

from urllib.parse import urlsplit

import anyio.to_thread
import psycopg2

from compose.local.probes import answers, listens
from compose.local.settings import StackSettings
from shared.errors import SettingsError, UnreachableError
from shared.settings import BusSettings, libpq_url, names_database, without_password

VARIABLES = {"postgres": "BATON_DATABASE_URL", "nats": "BATON_NATS_URL", "mlflow": "MLFLOW_TRACKING_URI"}


def attached_urls(settings: StackSettings) -> dict[str, str]:
    """Return the addresses of the parts that are not to be started."""
    tracking, database = settings.tracking_uri, settings.database_url
    if names_database(tracking):  # MLflow's database without its server: that one is started here
        tracking, database = None, database or tracking
    given = {"postgres": database, "nats": settings.nats_url, "mlflow": tracking}
    urls = {part: url for part, url in given.items() if url}
    if "mlflow" in urls and "postgres" not in urls and settings.capture == "triggers":
        raise SettingsError(
            "MLFLOW_TRACKING_URI is set and BATON_DATABASE_URL is not: promotions are captured in MLflow's own "
            "database, so name that database, or set BATON_CAPTURE=poll to have MLflow watched through its API, or "
            "unset MLFLOW_TRACKING_URI to have an MLflow started here"
        )
    return urls


async def check_attached(urls: dict[str, str]) -> None:
    """Raise `UnreachableError` naming the first attached part that does not answer."""
    checks = {"postgres": _database_answers, "nats": _nats_answers, "mlflow": _mlflow_answers}
    for part, url in urls.items():
        missing = await checks[part](url)
        if missing:
            raise UnreachableError(
                f"{VARIABLES[part]} names {without_password(url)}, which does not answer ({missing}): start it, or "
                f"unset {VARIABLES[part]} to have one started here"
            )


async def _nats_answers(url: str) -> str | None:
    missing = None
    for server in BusSettings(nats_url=url).nats_servers:
        address = urlsplit(server)
        missing = await listens(address.hostname or "127.0.0.1", address.port or 4222)
        if missing is None:
            return None
    return missing


async def _mlflow_answers(url: str) -> str | None:
    return await answers(f"{url.rstrip('/')}/health")


async def _database_answers(url: str) -> str | None:
    def connect() -> str | None:
        try:
            psycopg2.connect(libpq_url(url), connect_timeout=5).close()
        except psycopg2.OperationalError as error:
            return str(error).strip()
        return None

    return await anyio.to_thread.run_sync(connect)
