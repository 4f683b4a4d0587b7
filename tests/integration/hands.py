"""The command line's hands on a promoter that runs as a process."""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx

from shared.bus import NatsBus
from shared.event import subject_token
from shared.events import BundleRef, PromotionDecided
from shared.keys import line_of, new_key
from tests import bundles
from tests.integration.kit import Versions, listening_to
from tests.servers import answers, free_port, running, wait_for

BATON = str(Path(sys.executable).parent / "baton")
TOKEN = new_key()
DONE, FAILED, USAGE, REFUSED, UNREACHABLE = 0, 1, 2, 3, 4


@dataclass
class Promoter:
    """A running promoter: its process, and where it answers."""

    process: Popen[bytes]
    url: str


@contextmanager
def promoter_process(
    nats_url: str, database_url: str, tracking_uri: str, folder: Path, **more: str
) -> Iterator[Promoter]:
    port, log, tokens = free_port(), folder / "promoter.log", folder / "tokens"
    tokens.write_text(line_of("test", TOKEN))
    environment = {
        "BATON_NATS_URL": nats_url,
        "BATON_DATABASE_URL": database_url,
        "MLFLOW_TRACKING_URI": tracking_uri,
        "BATON_PROMOTER_PORT": str(port),
        "BATON_TOKENS_FILE": str(tokens),
    }
    with running([sys.executable, "-m", "services.promoter"], log, environment | more) as process:
        wait_for(f"the promoter (see {log})", answers(f"http://127.0.0.1:{port}/health"))
        yield Promoter(process, f"http://127.0.0.1:{port}")


@dataclass
class Hands:
    """The command line on a running promoter and predictor, and a model to use it on."""

    promoter: str
    versions: Versions
    bus: NatsBus
    folder: Path

    @property
    def model(self) -> str:
        return self.versions.model

    async def run(self, *arguments: str, expect: int = DONE) -> Any:
        """Run a verb with `--json` and return what it printed; nothing where it printed nothing."""
        environment = {
            "BATON_NATS_URL": self.bus.settings.nats_url,
            "BATON_PROMOTER_URL": self.promoter,
            "BATON_DATA_DIR": str(self.folder / "no stack here"),
            "COLUMNS": "200",
        }
        child = await asyncio.create_subprocess_exec(
            BATON, *arguments, "--json",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, **environment},
        )  # fmt: skip
        out, err = await asyncio.wait_for(child.communicate(), 60)
        assert child.returncode == expect, f"baton {' '.join(arguments)}: exit {child.returncode}: {err.decode()}"
        return json.loads(out) if out else err.decode()

    async def get(self, path: str, **parameters: Any) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.promoter, timeout=30) as client:
            return await client.get(path, params=parameters)

    async def post(self, action: str, **body: Any) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.promoter, timeout=30) as client:
            headers = {"authorization": f"Bearer {TOKEN}"}
            return await client.post(f"/models/{subject_token(self.model)}/{action}", json=body, headers=headers)

    async def good(self) -> str:
        """Register a version that predictors can serve, with a bundle that no other version has."""
        share = 0.1 + 0.8 * uuid.uuid4().int / 2**128
        bundle = await self.bus.put_bundle(*bundles.classifier(self.folder, share))
        return await asyncio.to_thread(self.versions.plain, bundle)

    async def judged(self, *, noise: float) -> PromotionDecided:
        """Register a real classifier as its trainer would, and return the decision on it."""
        finished = await self.versions.trained(self.bus, self.folder, noise=noise)
        async with listening_to(self.bus, self.model, PromotionDecided) as ear:
            await self.bus.publish(finished, self.model)
            decided = await asyncio.wait_for(ear.next(), 30)
        assert isinstance(decided, PromotionDecided)
        return decided

    async def bundle(self, version: str) -> BundleRef:
        found = await asyncio.to_thread(self.versions.registry.version, self.model, version)
        assert found is not None
        assert found.bundle is not None
        return found.bundle

    async def numbers(self) -> list[str]:
        """Return the versions that MLflow knows, oldest first."""
        return [found.version for found in await asyncio.to_thread(self.versions.registry.versions, self.model)]

    async def change(self, generation: int) -> None:
        """Wait until the ledger knows a change of the champion."""
        path = f"/models/{subject_token(self.model)}/history"
        async with asyncio.timeout(20):
            while True:
                answer = await self.get(path)
                if answer.status_code == 200 and answer.json()[0]["generation"] >= generation:
                    return
                await asyncio.sleep(0.05)
