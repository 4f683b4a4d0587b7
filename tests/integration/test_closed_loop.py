"""What predictors reject is taken back: the alias returns, the old champion answers all along, history says why."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import skops.io
from fastapi import FastAPI
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from shared.bundle import GOLDEN, MODEL_FILES, Column, Golden, Manifest, Output, file_digest, write
from shared.bus import NatsBus
from shared.events import BundleRef, ModelPromoted, ModelServing, PromotionDecided, PromotionRequested
from tests import bundles
from tests.integration.kit import Versions, listening_to, new_model, promoter
from tests.integration.predictors import Predictor, predictor_process
from tests.integration.scene import Scene, taken_back


@pytest.fixture(scope="module")
def predictor(nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Predictor]:
    with predictor_process(nats_url, tmp_path_factory.mktemp("closed_loop")) as process:
        yield process


@pytest.fixture
async def app(database_url: str, tracking_uri: str, nats_url: str, bus: NatsBus) -> AsyncIterator[FastAPI]:
    async with promoter(database_url, tracking_uri, nats_url) as running:
        yield running


@pytest.fixture
async def scene(app: FastAPI, bus: NatsBus, predictor: Predictor, tracking_uri: str, tmp_path: Path) -> Scene:
    return Scene(bus, app, Versions(tracking_uri, new_model()), predictor, tmp_path)


async def test_a_version_that_takes_too_long_is_taken_back(
    app: FastAPI, bus: NatsBus, nats_url: str, tracking_uri: str, tmp_path: Path
) -> None:
    """The first test here: the module's predictor, which starts after it, shall not try the endless bundle, too."""
    with predictor_process(nats_url, tmp_path, BATON_VERIFY_DEADLINE_S="5") as hasty:
        scene = Scene(bus, app, Versions(tracking_uri, new_model()), hasty, tmp_path)
        good = await scene.good(0.25)
        await scene.serve(good)
        endless = scene.versions.plain(await bus.put_bundle(*bundles.hanging(tmp_path)))
        async with scene.load() as load, listening_to(bus, scene.model, ModelServing, PromotionDecided) as ear:
            await asyncio.to_thread(scene.move_alias, endless)
            decided = await taken_back(ear, good)
    assert (decided.action, decided.verdict, decided.version) == ("rollback", "promoted", good)
    assert "(deadline)" in decided.reason
    assert (load.failed, load.versions) == ([], {good})
    assert (await scene.history())[0]["reason"] == decided.reason


async def wrong_answers(scene: Scene) -> BundleRef:
    return await scene.bus.put_bundle(*bundles.classifier(scene.folder, 0.75, golden_share=0.7))


async def truncated(scene: Scene) -> BundleRef:
    archive, digest = bundles.classifier(scene.folder, 0.8)
    archive.write_bytes(archive.read_bytes()[:1500])
    return await scene.bus.put_bundle(archive, digest)


async def forbidden_types(scene: Scene) -> BundleRef:
    import pandas as pd

    frame = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0]})
    pipeline = Pipeline([("own", FunctionTransformer(json.dumps)), ("model", LogisticRegression())])
    pipeline.steps[1][1].fit(frame, [0, 0, 1, 1])
    golden = Golden(columns={"x": [0.0]}, predictions=[0], probabilities=[[0.5, 0.5]])
    files = {MODEL_FILES["sklearn"]: skops.io.dumps(pipeline), GOLDEN: golden.model_dump_json().encode()}
    manifest = Manifest(
        inputs=[Column(name="x", type="double")],
        output=Output(kind="classification", classes=[0, 1], probabilities=True),
        runtime="sklearn",
        runtime_reason="test",
        tolerance=1e-5,
        libraries={},
        files={name: file_digest(content) for name, content in files.items()},
    )
    archive = scene.folder / f"{uuid.uuid4()}.tar"
    return await scene.bus.put_bundle(archive, write(archive, manifest, files))


@pytest.mark.parametrize(
    ("bad", "check"), [(wrong_answers, "golden"), (truncated, "digest"), (forbidden_types, "load")]
)
async def test_a_version_that_predictors_reject_is_taken_back(scene: Scene, bad: Any, check: str) -> None:
    good = await scene.good(0.25)
    await scene.serve(good)
    rejected = scene.versions.plain(await bad(scene))
    async with scene.load() as load, listening_to(scene.bus, scene.model, ModelServing, PromotionDecided) as ear:
        await asyncio.to_thread(scene.move_alias, rejected)
        decided = await taken_back(ear, good)
    assert (decided.action, decided.verdict, decided.version) == ("rollback", "promoted", good)
    assert (load.failed, load.versions) == ([], {good})
    assert load.asked > 0
    assert await asyncio.to_thread(scene.champion) == good

    back, forth, first = await scene.history()
    assert (back["version"], forth["version"], first["version"]) == (good, rejected, good)
    assert back["actor"] == "promoter"
    assert back["reason"].startswith(f"version {rejected} was rejected by {scene.predictor.name} ({check})")

    # The policy never chooses it again; it is the newest and would be.
    async with listening_to(scene.bus, scene.model, PromotionDecided) as ear:
        await scene.bus.publish(PromotionRequested(version="auto", actor="ann"), scene.model)
        auto = await asyncio.wait_for(ear.next(), 30)
    assert isinstance(auto, PromotionDecided)
    assert auto.reason == f"version {good} is champion already"


async def test_a_first_champion_that_is_rejected_stays_and_says_so(scene: Scene) -> None:
    bad = scene.versions.plain(await wrong_answers(scene))
    async with listening_to(scene.bus, scene.model, PromotionDecided) as ear:
        await asyncio.to_thread(scene.move_alias, bad)
        decided = await asyncio.wait_for(ear.next(), 30)
    assert isinstance(decided, PromotionDecided)
    assert decided.verdict == "refused"
    assert decided.reason.endswith("not rolled back: no earlier champion has served")
    assert await asyncio.to_thread(scene.champion) == bad


async def test_an_old_promotion_that_is_delivered_again_changes_nothing(scene: Scene) -> None:
    one, two, three = [await scene.good(share) for share in (0.1, 0.2, 0.3)]
    await scene.serve(one)
    found = await scene.bus.last(ModelPromoted, scene.model)
    await scene.serve(two)
    assert found is not None
    async with scene.load() as load:
        await scene.bus.publish(found[1], scene.model, event_id=str(uuid.uuid4()))
        await scene.serve(three)  # was published after it, so it was seen after it
    assert load.failed == []
    assert one not in load.versions


async def test_a_restored_ledger_is_followed(scene: Scene, database_url: str) -> None:
    """Its generations are smaller than those that predictors saw; its new id says that they count from now on."""
    one, two, three = [await scene.good(share) for share in (0.1, 0.2, 0.3)]
    for version in (one, two, one, two):
        await scene.serve(version)
    connection = psycopg2.connect(database_url)
    with connection, connection.cursor() as cursor:  # as a dump taken after the first generation
        cursor.execute("DELETE FROM baton.promotions WHERE model = %s AND generation > 1", (scene.model,))
        cursor.execute("UPDATE baton.models SET generation = 1, champion = %s WHERE model = %s", (two, scene.model))
        cursor.execute("UPDATE baton.ledger SET id = gen_random_uuid()")
    connection.close()
    async with scene.load() as load:
        await scene.serve(three)
    assert load.failed == []
    assert [row["generation"] for row in await scene.history()] == [2, 1]
