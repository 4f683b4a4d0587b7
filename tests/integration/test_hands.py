"""The command line's hands on real processes: promote, approve, roll back, clean up; history, audit, status."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.bus import NatsBus
from shared.event import subject_token
from shared.settings import BusSettings
from shared.streams import declare_when_reachable
from tests import bundles
from tests.integration.kit import Versions, new_model
from tests.integration.predictors import Predictor, predictor_process
from tests.servers import answers, free_port, running, wait_for

BATON = str(Path(sys.executable).parent / "baton")
DONE, USAGE, REFUSED, UNREACHABLE = 0, 2, 3, 4


@pytest.fixture(scope="module")
def predictor(nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Predictor]:
    with predictor_process(nats_url, tmp_path_factory.mktemp("hands")) as process:
        yield process


@pytest.fixture(scope="module")
def promoter_url(
    nats_url: str, database_url: str, tracking_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    port, log = free_port(), tmp_path_factory.mktemp("promoter") / "promoter.log"
    environment = {
        "BATON_NATS_URL": nats_url,
        "BATON_DATABASE_URL": database_url,
        "MLFLOW_TRACKING_URI": tracking_uri,
        "BATON_PROMOTER_PORT": str(port),
    }
    with running([sys.executable, "-m", "services.promoter"], log, environment):
        wait_for(f"the promoter (see {log})", answers(f"http://127.0.0.1:{port}/health"))
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[NatsBus]:
    async with NatsBus(BusSettings(nats_url=nats_url), "test") as opened:
        await declare_when_reachable(opened.js, 1)
        yield opened


@dataclass
class Hands:
    """The command line on a running promoter and predictor, and a model to use it on."""

    environment: dict[str, str]
    promoter: str
    versions: Versions
    bus: NatsBus
    folder: Path

    @property
    def model(self) -> str:
        return self.versions.model

    async def run(self, *arguments: str, expect: int = DONE) -> Any:
        """Run a verb with `--json` and return what it printed; nothing where it printed nothing."""
        child = await asyncio.create_subprocess_exec(
            BATON, *arguments, "--json",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, **self.environment},
        )  # fmt: skip
        out, err = await asyncio.wait_for(child.communicate(), 60)
        assert child.returncode == expect, f"baton {' '.join(arguments)}: exit {child.returncode}: {err.decode()}"
        return json.loads(out) if out else err.decode()

    async def get(self, path: str, **parameters: Any) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.promoter, timeout=30) as client:
            return await client.get(path, params=parameters)

    async def post(self, action: str, **body: Any) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.promoter, timeout=30) as client:
            return await client.post(f"/models/{subject_token(self.model)}/{action}", json=body)

    async def good(self, share: float) -> str:
        """Register a version that predictors can serve."""
        bundle = await self.bus.put_bundle(*bundles.classifier(self.folder, share))
        return await asyncio.to_thread(self.versions.plain, bundle)


@pytest.fixture
def hands(promoter_url: str, tracking_uri: str, predictor: Predictor, bus: NatsBus, tmp_path: Path) -> Hands:
    environment = {
        "BATON_NATS_URL": bus.settings.nats_url,
        "BATON_PROMOTER_URL": promoter_url,
        "BATON_DATA_DIR": str(tmp_path / "none"),
        "COLUMNS": "200",
    }
    return Hands(environment, promoter_url, Versions(tracking_uri, new_model()), bus, tmp_path)


async def test_promote_roll_back_unfreeze_and_the_history_of_it(hands: Hands) -> None:
    model, (one, two) = hands.model, [await hands.good(share) for share in (0.2, 0.3)]
    for version in (one, two):
        promoted = await hands.run("promote", model, version, "--actor", "ann", "--reason", "because")
        assert (promoted["decided"]["verdict"], promoted["serving"]["version"]) == ("promoted", version)

    back = await hands.run("rollback", model, "--actor", "bob", "--reason", "it was wrong")
    assert (back["decided"]["version"], back["serving"]["version"]) == (one, one)
    (standing,) = [row for row in (await hands.run("status"))["models"] if row["model"] == model]
    assert (standing["frozen"], standing["frozen_by"]) == (True, "bob")
    assert (await hands.run("unfreeze", model))["decided"]["verdict"] == "done"
    (standing,) = [row for row in (await hands.get("/models")).json()["models"] if row["model"] == model]
    assert (standing["frozen"], standing["champion"], standing["generation"]) == (False, one, 3)

    again = await hands.run("promote", model, one, expect=REFUSED)
    assert again["decided"]["reason"] == f"version {one} is champion already"

    changes = (await hands.run("history", model))["changes"]
    assert [(row["version"], row["actor"], row["action"]) for row in changes] == [
        (one, "bob", "rollback"), (two, "ann", "promote"), (one, "ann", "promote"),
    ]  # fmt: skip
    assert all(row["served_s"] > 0 for row in changes)
    assert changes[2]["replaced_at"] == changes[1]["served_at"]
    assert changes[0]["replaced_at"] is None
