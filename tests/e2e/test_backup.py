"""A backup taken under load, restored into an empty stack: the same champions, history and answers."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.bus import NatsBus
from shared.events import PromotionDecided, PromotionRequested
from shared.settings import BusSettings
from shared.streams import declare_when_reachable
from tests.integration.kit import Versions, listening_to, new_model, promoter
from tests.integration.predictors import Predictor, predictor_process
from tests.integration.scene import Scene
from tests.servers import mlflow_server, nats_server, postgres_server

BATON = str(Path(sys.executable).parent / "baton")


@dataclass(frozen=True)
class Servers:
    """A NATS, a PostgreSQL and an MLflow."""

    nats: str
    database: str
    mlflow: str

    def baton(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the command line against these servers."""
        own = {"BATON_NATS_URL": self.nats, "BATON_DATABASE_URL": self.database, "MLFLOW_TRACKING_URI": self.mlflow}
        environment = {**os.environ, **own}
        return subprocess.run(
            [BATON, *words], env=environment, capture_output=True, text=True, timeout=110, check=False
        )


@pytest.fixture(scope="module")
def source(nats_url: str, database_url: str, tracking_uri: str) -> Servers:
    return Servers(nats_url, database_url, tracking_uri)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("empty")
    with (
        nats_server(folder) as nats,
        postgres_server(folder) as database,
        mlflow_server(folder, database) as mlflow,
    ):
        yield Servers(nats, database, mlflow)


@pytest.fixture
def predictor(source: Servers, tmp_path: Path) -> Iterator[Predictor]:
    (tmp_path / "first").mkdir()
    with predictor_process(source.nats, tmp_path / "first") as process:
        yield process


def history_of(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        tuple(row[key] for key in ("generation", "version", "run_id", "actor", "reason", "committed_at"))
        for row in rows
    ]


@pytest.mark.timeout(240)
async def test_a_backup_under_load_is_restored_into_an_empty_stack(
    source: Servers, empty: Servers, predictor: Predictor, tmp_path: Path
) -> None:
    archive = tmp_path / "baton.tar"
    async with (
        NatsBus(BusSettings(nats_url=source.nats), "test") as bus,
        promoter(source.database, source.mlflow, source.nats) as app,
    ):
        scene = Scene(bus, app, Versions(source.mlflow, new_model()), predictor, tmp_path)
        one, two = await scene.good(0.25), await scene.good(0.75)
        await scene.serve(one)
        await scene.serve(two)
        run_id = scene.versions.client.get_model_version(scene.model, two).run_id
        assert run_id is not None
        scene.versions.client.log_text(run_id, "kept", "notes/why not.txt")
        before = history_of(await scene.history())
        async with scene.load() as load:
            written = await asyncio.to_thread(source.baton, "backup", str(archive), "--json")
            assert written.returncode == 0, written.stderr
        assert load.failed == []
    assert json.loads(written.stdout)["champions"][scene.model] == two

    async with NatsBus(BusSettings(nats_url=empty.nats), "test") as bus:
        await declare_when_reachable(bus.js, 1)
        (tmp_path / "second").mkdir()
        async with promoter(empty.database, empty.mlflow, empty.nats) as app:
            restored = await asyncio.to_thread(empty.baton, "restore", str(archive), "--json")
            assert restored.returncode == 0, restored.stderr
            with predictor_process(empty.nats, tmp_path / "second") as follower:
                here = Scene(bus, app, Versions(empty.mlflow, "other " + scene.model), follower, tmp_path)
                here.versions.model = scene.model
                await serves(follower, scene.model, two)
                assert history_of(await here.history()) == before
                assert here.champion() == two
                assert here.versions.client.get_run(run_id).info.run_id == run_id
                assert note_of(here.versions, run_id, tmp_path) == "kept"
                # And it goes on from there: the next change is the next generation.
                async with listening_to(bus, scene.model, PromotionDecided) as ear:
                    await bus.publish(PromotionRequested(action="rollback", actor="ann"), scene.model)
                    decided = await asyncio.wait_for(ear.next(), 30)
                assert isinstance(decided, PromotionDecided)
                assert (decided.verdict, decided.version) == ("promoted", one)
                await serves(follower, scene.model, one)
                assert [row["generation"] for row in await here.history()] == [3, 2, 1]

            again = await asyncio.to_thread(empty.baton, "restore", str(archive))
            assert again.returncode == 1
            assert "restore into an empty stack" in again.stderr


def note_of(versions: Versions, run_id: str, folder: Path) -> str:
    return Path(versions.client.download_artifacts(run_id, "notes/why not.txt", str(folder))).read_text()


async def serves(predictor: Predictor, model: str, version: str) -> None:
    answer: httpx.Response | None = None
    try:
        async with asyncio.timeout(60):
            while True:
                answer = await asyncio.to_thread(predictor.predict, model)
                if answer.status_code == 200 and answer.json()["version"] == version:
                    return
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"version {version} was never served: {answer.text if answer else None}")


def test_an_archive_that_is_something_else_is_refused(source: Servers, tmp_path: Path) -> None:
    other = tmp_path / "other.tar"
    other.write_text("no tar")
    refused = source.baton("restore", str(other))
    assert refused.returncode == 1
    assert "is not what `baton backup` writes" in refused.stderr
    assert source.baton("backup", str(other)).stderr.strip().endswith("exists: name another file")
