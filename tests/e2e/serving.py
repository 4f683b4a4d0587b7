"""A predictor that serves two models of the heart-disease data: a compiled one, and one that scikit-learn serves."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from services.trainer.recipes import TrainingData
from shared.bus import NatsBus
from shared.events import ModelPromoted
from shared.packing import Fitted, pack
from shared.settings import BusSettings
from shared.streams import declare_when_reachable
from tests.integration.predictors import Predictor, predictor_process
from tests.servers import wait_for

DATA = Path(__file__).parents[2] / "shared" / "datasets" / "heart_disease.csv"
COMPILED, NATIVE = "heart-disease", "heart by scikit-learn"


@dataclass(frozen=True)
class Serving:
    """A running predictor, the estimators behind its models, and rows to ask with, some of them with missing values."""

    predictor: Predictor
    estimators: dict[str, Any]
    rows: pd.DataFrame

    @property
    def address(self) -> str:
        return self.predictor.url.removeprefix("http://")


@contextmanager
def serving(nats_url: str, folder: Path) -> Iterator[Serving]:
    frame = pd.read_csv(DATA, comment="#")
    features, target = frame.drop(columns="target").astype(float), frame["target"]
    data = TrainingData(features, target, ["cp", "restecg", "slope", "thal"], "classification", 0)
    estimators = {
        COMPILED: data.pipeline(LogisticRegression(max_iter=1000), scale=True).fit(features, target),
        NATIVE: data.pipeline(RidgeClassifier(), scale=True).fit(features, target),
    }
    asyncio.run(promote(nats_url, folder, {name: Fitted(one, features, features) for name, one in estimators.items()}))
    with predictor_process(nats_url, folder, PREDICTOR_WORKERS="1", BATON_DEFAULT_MODEL=COMPILED) as predictor:
        for model in estimators:
            wait_for(f"{model} to be served", partial(serves, predictor, model))
        assert predictor.get(f"/models/{COMPILED}")["runtime"] == "onnx"
        assert predictor.get(f"/models/{NATIVE}")["runtime"] == "sklearn"
        yield Serving(predictor, estimators, features.sample(40, random_state=1).reset_index(drop=True))


def serves(predictor: Predictor, model: str) -> bool:
    answer = httpx.get(f"{predictor.url}/models/{model}", timeout=5)
    return answer.status_code == 200 and answer.json()["version"] is not None


async def promote(nats_url: str, folder: Path, models: dict[str, Fitted]) -> None:
    async with NatsBus(BusSettings(nats_url=nats_url), "test") as bus:
        await declare_when_reachable(bus.js, 1)
        for name, fitted in models.items():
            archive = folder / f"{name}.tar"
            manifest = pack(fitted, archive)
            ref = await bus.put_bundle(archive, manifest.digest())
            change: dict[str, Any] = {"generation": 1, "ledger": "e2e", "actor": "test", "reason": ""}
            await bus.publish(ModelPromoted(version="1", bundle=ref, committed_at=datetime.now(UTC), **change), name)
