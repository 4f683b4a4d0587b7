"""PostgreSQL and MLflow alone, as `python -m compose.local.registry`: the registry without Baton's services."""

import asyncio
import signal
import sys
from collections.abc import Mapping
from contextlib import closing

import psycopg2

from compose.local.child import Change, Child
from compose.local.probes import get_json
from compose.local.settings import StackSettings
from compose.local.stack import Stack
from shared.errors import BatonError, UnreachableError
from shared.settings import libpq_url, load

PARTS = ("postgres", "mlflow")


class RegistryStack(Stack):
    """The part of a stack that keeps models and runs."""

    def _children(self, ports: Mapping[str, int], urls: Mapping[str, str], attached: Mapping[str, str]) -> list[Child]:
        return [child for child in super()._children(ports, urls, attached) if child.name in PARTS]


def show(change: Change) -> None:
    """Say on stderr how far a part is."""
    print(change.part, change.state, change.detail, file=sys.stderr)  # noqa: T201


async def verify(urls: Mapping[str, str]) -> int:
    """Ask PostgreSQL and MLflow for what they hold; return how many experiments both know of."""
    held = await asyncio.to_thread(_experiments, urls["postgres"])
    address = f"{urls['mlflow'].rstrip('/')}/api/2.0/mlflow/experiments/search?max_results=1000"
    shown = {found["experiment_id"] for found in (await get_json(address)).get("experiments", [])}
    if held != shown:
        raise UnreachableError(f"MLflow at {urls['mlflow']} does not show what its database holds: is it another's?")
    return len(held)


def _experiments(database: str) -> set[str]:
    with closing(psycopg2.connect(libpq_url(database))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT experiment_id::text FROM experiments WHERE lifecycle_stage = 'active' LIMIT 1000")
        return {number for (number,) in cursor.fetchall()}


async def _run() -> None:
    settings, stop = load(StackSettings, port_fallback=True), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with RegistryStack(settings, show).running() as state:
        held = await verify(state.urls)
        for part in PARTS:
            print(f"{part}: {state.urls[part]}", flush=True)  # noqa: T201
        print(f"verified: both answer, and hold {held} experiment(s)", flush=True)  # noqa: T201
        await stop.wait()


def main() -> None:
    """Run until told to stop; a foreseen failure is one sentence."""
    try:
        asyncio.run(_run())
    except BatonError as error:
        sys.exit(f"registry: {error}")


if __name__ == "__main__":
    main()
