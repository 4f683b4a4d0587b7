"""PostgreSQL and MLflow alone, as `python -m compose.local.registry`: the registry without Baton's services."""

import asyncio
import signal
import sys
from collections.abc import Mapping

from compose.local.child import Change, Child
from compose.local.settings import StackSettings
from compose.local.stack import Stack
from shared.errors import BatonError
from shared.settings import load

PARTS = ("postgres", "mlflow")


class RegistryStack(Stack):
    """The part of a stack that keeps models and runs."""

    def _children(self, ports: Mapping[str, int], urls: Mapping[str, str], attached: Mapping[str, str]) -> list[Child]:
        return [child for child in super()._children(ports, urls, attached) if child.name in PARTS]


def show(change: Change) -> None:
    """Say on stderr how far a part is."""
    print(change.part, change.state, change.detail, file=sys.stderr)  # noqa: T201


async def _run() -> None:
    settings, stop = load(StackSettings, port_fallback=True), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with RegistryStack(settings, show).running() as state:
        for part in PARTS:
            print(f"{part}: {state.urls[part]}", flush=True)  # noqa: T201
        await stop.wait()


def main() -> None:
    """Run until told to stop; a foreseen failure is one sentence."""
    try:
        asyncio.run(_run())
    except BatonError as error:
        sys.exit(f"registry: {error}")


if __name__ == "__main__":
    main()
