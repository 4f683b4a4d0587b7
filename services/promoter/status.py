"""The status: how far the fleet is behind the ledger, and what waits for whom."""

import asyncio
from collections.abc import Iterable
from typing import Any

from services.promoter.capture.capture import Capture
from services.promoter.fleet import Fleet, takes
from services.promoter.ledger.records import Records
from services.promoter.relay import Relay
from shared.registry import Registry


class Status:
    """Brings together what ledger, relay, fleet and MLflow know."""

    def __init__(self, records: Records, relay: Relay, fleet: Fleet, registry: Registry, capture: Capture) -> None:
        self._records = records
        self._relay = relay
        self._fleet = fleet
        self._registry = registry
        self._capture = capture

    async def capture(self) -> dict[str, Any]:
        """Return the capture's `mode`, what it cannot see (`blind_to`), and its last `errors`."""
        errors = await self._records.capture_errors()
        return {"mode": self._capture.mode, "blind_to": self._capture.blind_to, "errors": errors}

    async def models(self) -> list[dict[str, Any]]:
        """Return every model that MLflow knows, with its standing in the ledger."""
        names = await asyncio.to_thread(self._registry.models)
        standings = {row["model"]: row for row in await self._records.standings()}
        return [standings.get(name) or unpromoted(name) for name in names]

    async def overview(self) -> dict[str, Any]:
        """Return `workers` and `models`, without asking MLflow."""
        standings = await self._records.standings()
        unpublished = {row.pop("model"): row for row in await self._relay.backlog()}
        models = [row | {"unpublished": unpublished.get(row["model"])} for row in standings]
        return {"workers": [with_lag(worker, standings) for worker in self._fleet.workers()], "models": models}


def unpromoted(model: str) -> dict[str, Any]:
    """Return the standing of a model that never had a champion."""
    nobody = dict.fromkeys(("champion", "frozen_by", "frozen_reason"))
    return {"model": model, "generation": 0, "frozen": False, "awaiting": [], **nobody}


def with_lag(worker: dict[str, Any], standings: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Say for each model that has or had a champion how many generations a worker is behind the ledger.

    A worker that serves nothing of a model lags by all of them; one that is right to serve nothing is not mentioned.
    """
    served = worker["models"]
    models = {}
    for standing in standings:
        own = served.get(standing["model"])
        if own is not None or (standing["champion"] is not None and takes(worker, standing["model"])):
            own = own or {"version": None, "generation": 0}
            models[standing["model"]] = own | {"lag": standing["generation"] - own["generation"]}
    unknown = {model: own | {"lag": None} for model, own in served.items() if model not in models}
    return worker | {"models": models | unknown}
