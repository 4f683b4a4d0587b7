"""A backup taken under load, restored into an empty stack: the same champions, history and answers."""

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.backup.bus import deleted_bundles, export_bundles, export_streams
from cli.backup.database import Database, find_program
from cli.backup.verbs import check_kept
from shared.bundle import file_digest
from shared.bus import NatsBus
from shared.errors import BatonError
from shared.event import Stream
from shared.events import RunFinished, TrainRequested
from shared.follow import follow
from shared.registry import Registry
from shared.settings import BusSettings
from shared.streams import declare_when_reachable
from shared.versions import TAG_REQUEST
from tests import bundles
from tests.integration.kit import Versions, new_model, promoter
from tests.integration.predictors import Predictor, predictor_process
from tests.integration.scene import Scene
from tests.integration.services import ROW, trainer_process
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


def history_of(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        tuple(row[key] for key in ("generation", "version", "run_id", "actor", "reason", "committed_at"))
        for row in rows
    ]


@dataclass(frozen=True)
class Work:
    """What goes on while a backup is made: a champion that changes without pause, and trainings that are asked for."""

    scene: Scene
    model: str
    asked: list[str] = field(default_factory=list)

    async def ask(self) -> None:
        """Ask for a training; the bus has it when this returns."""
        request = TrainRequested(
            recipe="logistic-regression", dataset="heart-disease", seed=len(self.asked), request_id=str(uuid.uuid4())
        )
        await self.scene.bus.publish(request, self.model)
        self.asked.append(str(request.request_id))

    @asynccontextmanager
    async def going_on(self, *versions: str) -> AsyncIterator[None]:
        """Move the alias from one version to the next as fast as MLflow does, and ask for a training now and then."""
        over = asyncio.Event()

        async def promote() -> None:
            for version in cycle(versions):
                if over.is_set():
                    return
                await asyncio.to_thread(self.scene.move_alias, version)

        async def ask() -> None:
            while not over.is_set():
                await self.ask()
                with suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), 2)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(promote())
            tasks.create_task(ask())
            try:
                yield
            finally:
                over.set()


@pytest.mark.timeout(400)
async def test_a_backup_under_load_is_restored_into_an_empty_stack(
    source: Servers, empty: Servers, tmp_path: Path
) -> None:
    archive, old, new = tmp_path / "baton.tar", tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    async with (
        NatsBus(BusSettings(nats_url=source.nats), "test") as bus,
        promoter(source.database, source.mlflow, source.nats) as app,
    ):
        with predictor_process(source.nats, old) as predictor, trainer_process(source.nats, source.mlflow, old):
            scene = Scene(bus, app, Versions(source.mlflow, new_model()), predictor, tmp_path)
            work = Work(scene, new_model())
            versions = [await scene.good(share) for share in (0.25, 0.5, 0.75)]
            for version in versions:
                scene.versions.client.log_text(run_of(scene.versions, version), version, "notes/why not.txt")
            await scene.serve(versions[0])
            await deleted_long_ago(bus, tmp_path)
            for _ in range(3):
                await work.ask()
            waited = list(work.asked)
            async with scene.load() as load, work.going_on(*versions):
                written = await asyncio.to_thread(source.baton, "backup", str(archive), "--json")
            assert written.returncode == 0, written.stderr
            assert load.failed == []
            champion = json.loads(written.stdout)["champions"][scene.model]
            # The champion of later is another one, and in the cache of a predictor.
            later = next(version for version in versions if version not in {champion, scene.champion()})
            await scene.serve(later)
            history = history_of(await scene.history())
        await bus.js.purge_stream(Stream.TRAINING, subject=TrainRequested.subject(work.model))

    async with NatsBus(BusSettings(nats_url=empty.nats), "test") as bus:
        await declare_when_reachable(bus.js, 1)
        async with promoter(empty.database, empty.mlflow, empty.nats) as app:
            with predictor_process(empty.nats, old) as follower:
                await serves(follower, scene.model, later)
                restored = await asyncio.to_thread(empty.baton, "restore", str(archive), "--json")
                assert restored.returncode == 0, restored.stderr
                await serves(follower, scene.model, champion)
            here = Scene(bus, app, Versions(empty.mlflow, "other " + scene.model), follower, tmp_path)
            here.versions.model = scene.model
            assert here.champion() == champion
            kept = history_of(await here.history())
            assert kept == history[len(history) - len(kept) :]
            assert kept[0][:2] == (len(kept), champion)
            for version in versions:
                assert note_of(here.versions, run_of(here.versions, version), tmp_path) == version
            with trainer_process(empty.nats, empty.mlflow, new):
                await are_finished(bus, work.model, waited)
            for model in (scene.model, work.model):
                await agree(bus, here.versions.registry, model, tmp_path)
            registered = Counter(found.tags[TAG_REQUEST] for found in here.versions.registry.versions(work.model))
            assert set(waited) <= registered.keys() <= set(work.asked)
            assert set(registered.values()) == {1}
            with predictor_process(empty.nats, new) as follower:
                await serves(follower, scene.model, champion)
                made = here.versions.client.get_model_version_by_alias(work.model, "champion").version
                await serves(follower, work.model, str(made), ROW)
                # And it goes on from there: the next change is the next generation.
                here.predictor = follower
                await here.serve(later)
            assert [row["generation"] for row in await here.history()][:2] == [len(kept) + 1, len(kept)]

        again = await asyncio.to_thread(empty.baton, "restore", str(archive))
        assert again.returncode == 1
        assert "restore into an empty stack" in again.stderr


def run_of(versions: Versions, version: str) -> str:
    return str(versions.client.get_model_version(versions.model, version).run_id)


def note_of(versions: Versions, run_id: str, folder: Path) -> str:
    return Path(versions.client.download_artifacts(run_id, "notes/why not.txt", str(folder))).read_text()


async def deleted_long_ago(bus: NatsBus, folder: Path) -> None:
    ref = await bus.put_bundle(*bundles.classifier(folder, 0.1))
    await bus.delete_bundle(ref.digest)


async def are_finished(bus: NatsBus, model: str, request_ids: list[str]) -> None:
    """Wait until each request has said that it is finished, in what was restored or since."""
    missing = set(request_ids)
    try:
        async with asyncio.timeout(120):
            async for received in follow(bus, Stream.LIFECYCLE, [RunFinished.subject(model)], 0):
                assert isinstance(received.event, RunFinished)
                missing.discard(received.event.request_id)
                if not missing:
                    return
    except TimeoutError:
        pytest.fail(f"requests {missing} were never finished")


async def agree(bus: NatsBus, registry: Registry, model: str, folder: Path) -> None:
    """Check that what the registry names of each version is there: its bundle, and its held-out rows."""
    for found in registry.versions(model):
        assert found.bundle is not None
        await bus.fetch_bundle(found.bundle, folder / "bundle.tar")
        if found.holdout:
            rows = registry.download(str(found.run_id), found.holdout.artifact, folder / "rows")
            assert f"sha256:{file_digest(rows.read_bytes())}" == found.holdout.digest


async def serves(predictor: Predictor, model: str, version: str, row: dict[str, Any] | None = None) -> None:
    answer: httpx.Response | None = None
    try:
        async with asyncio.timeout(60):
            while True:
                answer = await asyncio.to_thread(predictor.predict, model, row)
                if answer.status_code == 200 and answer.json()["version"] == version:
                    return
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"version {version} was never served: {answer.text if answer else None}")


async def test_a_promotion_between_reading_and_dumping_is_in_neither(source: Servers, tmp_path: Path) -> None:
    versions, database = Versions(source.mlflow, new_model()), Database(source.database)
    async with promoter(source.database, source.mlflow, source.nats):
        one, two = versions.plain(), versions.plain()
        versions.client.set_registered_model_alias(versions.model, "champion", one)
        with database.snapshot() as snapshot:
            await asyncio.to_thread(versions.client.set_registered_model_alias, versions.model, "champion", two)
            await asyncio.to_thread(database.dump, tmp_path / "dump", snapshot)
    assert snapshot.champions[versions.model] == one
    assert dumped(tmp_path / "dump", "baton", "models", versions.model)[:3] == [versions.model, "1", one]
    assert {"champion", one} < set(dumped(tmp_path / "dump", "public", "registered_model_aliases", versions.model))


def dumped(dump: Path, schema: str, table: str, model: str) -> list[str]:
    """Return the columns of a model's only row of a table in a dump."""
    only = ["--data-only", f"--schema={schema}", f"--table={table}", "--file=-"]
    text = subprocess.run(
        [find_program("pg_restore"), *only, str(dump)], capture_output=True, text=True, check=True
    ).stdout
    (row,) = (line.split("\t") for line in text.splitlines() if model in line.split("\t"))
    return row


async def test_a_bundle_that_is_deleted_before_it_is_copied_is_missed(source: Servers, tmp_path: Path) -> None:
    """What a cleanup does while the database is dumped: the version goes, then its bundle."""
    versions = Versions(source.mlflow, new_model())
    async with (
        NatsBus(BusSettings(nats_url=source.nats), "test") as bus,
        promoter(source.database, source.mlflow, source.nats),
    ):
        needed, other = [await bus.put_bundle(*bundles.classifier(tmp_path, share)) for share in (0.3, 0.35)]
        version = versions.plain(needed)
        before = await deleted_bundles(bus)
        with Database(source.database).snapshot() as snapshot:
            versions.client.delete_model_version(versions.model, version)
            await bus.delete_bundle(needed.digest)
            await bus.delete_bundle(other.digest)
        gone = await export_bundles(bus, tmp_path) - before
        assert gone == {needed.object, other.object}
        assert [snapshot.has_bundle(ref.object) for ref in (needed, other)] == [True, False]
        with pytest.raises(BatonError, match=rf"deleted 1 bundles .* \({needed.object}\): make it again"):
            check_kept(snapshot, gone)
        with Database(source.database).snapshot() as snapshot:
            check_kept(snapshot, gone)  # of a later instant nothing is missing


async def test_a_command_by_hand_keeps_the_id_that_its_sequence_gave_it(source: Servers, tmp_path: Path) -> None:
    subject = TrainRequested.subject(new_model())
    async with NatsBus(BusSettings(nats_url=source.nats), "test") as bus:
        await declare_when_reachable(bus.js, 1)
        ack = await bus.js.publish(subject, b"{}")
        await export_streams(bus, tmp_path)
        await bus.js.purge_stream(Stream.TRAINING, subject=subject)
        lines = [json.loads(line) for line in (tmp_path / "TRAINING.jsonl").read_text().splitlines()]
        assert [line["headers"] for line in lines if line["subject"] == subject] == [
            {"Nats-Msg-Id": f"TRAINING-{ack.seq}"}
        ]


def test_an_archive_that_is_something_else_is_refused(source: Servers, tmp_path: Path) -> None:
    other = tmp_path / "other.tar"
    other.write_text("no tar")
    refused = source.baton("restore", str(other))
    assert refused.returncode == 1
    assert "is not what `baton backup` writes" in refused.stderr
    assert source.baton("backup", str(other)).stderr.strip().endswith("exists: name another file")
