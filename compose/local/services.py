"""Baton's own services as children."""

import sys

from compose.local.child import Check, Child, environment
from compose.local.ports import HOST
from compose.local.probes import answers, get_json

READY_WITHIN_S = 90.0


def service(name: str, port: int, env: dict[str, str], after: tuple[str, ...]) -> Child:
    """Return a service that answers `GET /health` on its port when it is ready."""

    async def check() -> str | None:
        return await answers(f"http://{HOST}:{port}/health")

    return _child(name, port, env, after, check)


def predictor(port: int, workers: int, env: dict[str, str]) -> Child:
    """Return the predictor; it is ready when all its workers are."""

    async def check() -> str | None:
        try:
            health = await get_json(f"http://{HOST}:{port}/health")
            ready, expected = health["workers_ready"], health["workers_expected"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            return str(error)
        return None if ready >= expected else f"{ready} of {expected} workers are ready"

    return _child("predictor", port, {**env, "PREDICTOR_WORKERS": str(workers)}, ("nats",), check)


def _child(name: str, port: int, env: dict[str, str], after: tuple[str, ...], check: Check) -> Child:
    return Child(
        name=name,
        argv=(sys.executable, "-m", f"services.{name}"),
        env=environment(**env, **{f"BATON_{name.upper()}_PORT": str(port)}),
        check=check,
        after=after,
        ready_within_s=READY_WITHIN_S,
    )
