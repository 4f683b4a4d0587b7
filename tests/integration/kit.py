"""What tests of the promoter need of MLflow and the bus: versions with tiny bundles, and a promoter to talk to."""

import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import skops.io
from fastapi import FastAPI
from mlflow import MlflowClient
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from services.promoter.app import create_app
from services.promoter.settings import PromoterSettings
from shared.bundle import GOLDEN, MODEL_FILES, Column, Golden, Manifest, Output, file_digest, write
from shared.bus import NatsBus
from shared.event import Event
from shared.events import BundleRef, HoldoutRef, RunFinished
from shared.follow import follow, last_sequence
from shared.registry import Registry
from shared.versions import TAG_BUNDLE, TAG_HOLDOUT, TAG_REQUEST

NO_BUNDLE = BundleRef(object="sha256-0", digest="sha256:0", size=1)


def new_model() -> str:
    return f"model {uuid.uuid4()}"


@asynccontextmanager
async def promoter(database_url: str, tracking_uri: str, nats_url: str, **more: Any) -> AsyncIterator[FastAPI]:
    """Run a whole promoter in this process."""
    settings = PromoterSettings(database_url=database_url, tracking_uri=tracking_uri, nats_url=nats_url, **more)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


class Versions:
    """Registers versions of a model in MLflow, as the trainer does."""

    def __init__(self, tracking_uri: str, model: str) -> None:
        self.model = model
        self.client = MlflowClient(tracking_uri, tracking_uri)
        self.registry = Registry(tracking_uri)
        self.experiment = self.client.create_experiment(f"experiment {uuid.uuid4()}")

    def plain(self, bundle: BundleRef | None = NO_BUNDLE) -> str:
        """Register a version whose bundle, if any, exists in name only."""
        run = self.client.create_run(self.experiment)
        tags = {TAG_BUNDLE: bundle.model_dump_json()} if bundle else {}
        source = f"{run.info.artifact_uri}/model"
        return self.registry.register(
            self.model, source=source, run_id=run.info.run_id, model_id=None, tags=tags
        ).version

    def promote(self, version: str) -> None:
        """Promote a version as MLflow's users do."""
        self.client.set_registered_model_alias(self.model, "champion", version)

    async def trained(self, bus: NatsBus, folder: Path, *, noise: float, column: str = "x") -> RunFinished:
        """Register a real classifier, the worse the more noise, and return the event that its trainer would publish."""
        archive, digest = classifier(folder, noise, column)
        bundle = await bus.put_bundle(archive, digest)
        file = held_out(folder, column)
        run = self.client.create_run(self.experiment)
        self.client.log_artifact(run.info.run_id, str(file), "holdout")
        holdout = HoldoutRef(artifact=f"holdout/{file.name}", digest=file_digest(file.read_bytes()), rows=200)
        request_id = str(uuid.uuid4())
        made = self.registry.register(
            self.model,
            source=f"{run.info.artifact_uri}/model",
            run_id=run.info.run_id,
            model_id=None,
            tags={
                TAG_BUNDLE: bundle.model_dump_json(),
                TAG_HOLDOUT: holdout.model_dump_json(),
                TAG_REQUEST: request_id,
            },
        )
        return RunFinished(
            request_id=request_id,
            run_id=run.info.run_id,
            version=made.version,
            metrics={},
            bundle=bundle,
            holdout=holdout,
        )


def rows(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(size=count)
    return x, (x + random.normal(scale=0.5, size=count) > 0).astype(int)


def classifier(folder: Path, noise: float, column: str) -> tuple[Path, str]:
    """Write the bundle of a logistic regression whose training labels were partly turned around."""
    import pandas as pd

    x, y = rows(1, 300)
    turned = np.random.default_rng(2).random(300) < noise
    frame = pd.DataFrame({column: x})
    pipeline = Pipeline([("model", LogisticRegression())]).fit(frame, np.where(turned, 1 - y, y))
    golden_x = frame.head(5)
    golden = Golden(
        columns={column: golden_x[column].tolist()},
        predictions=pipeline.predict(golden_x).tolist(),
        probabilities=pipeline.predict_proba(golden_x).tolist(),
    )
    files = {MODEL_FILES["sklearn"]: skops.io.dumps(pipeline), GOLDEN: golden.model_dump_json().encode()}
    manifest = Manifest(
        inputs=[Column(name=column, type="double")],
        output=Output(kind="classification", classes=[0, 1], probabilities=True),
        runtime="sklearn",
        runtime_reason="test",
        tolerance=1e-5,
        libraries={},
        files={name: file_digest(content) for name, content in files.items()},
    )
    archive = folder / f"{uuid.uuid4()}.tar"
    return archive, write(archive, manifest, files)


def held_out(folder: Path, column: str) -> Path:
    x, y = rows(3, 200)
    table = pa.table({column: x, "label": y}).replace_schema_metadata({"baton.target": "label"})
    path = folder / "holdout.parquet"
    pq.write_table(table, path)
    return path


class Ear:
    """Hears every event about one model from the moment it was opened."""

    def __init__(self, events: AsyncIterator[Event]) -> None:
        self._events = events

    async def next(self) -> Event:
        return await anext(self._events)


@asynccontextmanager
async def listening_to(bus: NatsBus, model: str, *kinds: type[Event]) -> AsyncIterator[Ear]:
    """Hear events of the given kinds (of one stream) about a model, in order."""
    stream = kinds[0].stream
    assert stream is not None
    after = await last_sequence(bus.js, stream)

    async def events() -> AsyncGenerator[Event]:
        async for received in follow(bus, stream, [kind.subject(model) for kind in kinds], after):
            yield received.event

    generator = events()
    try:
        yield Ear(generator)
    finally:
        await generator.aclose()
