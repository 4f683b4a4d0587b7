"""A lazy predictor as processes on real NATS: it knows every champion, and loads those that somebody asks for."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from nats.aio.msg import Msg

from services.promoter.fleet import Fleet
from services.promoter.ledger.outbox import Published
from services.promoter.reconciler import laggards
from shared.bus import NatsBus
from shared.event import Stream
from shared.events import ModelRejected, ModelServing, PredictorAlive
from shared.follow import last_sequence
from shared.settings import BusSettings
from shared.streams import declare_when_reachable
from tests.exposition import counted
from tests.integration.models import Model
from tests.integration.predictors import WORKERS, Predictor, predictor_process
from tests.servers import nats_server


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[NatsBus]:
    """A bus of one test's own: only its champions are known there."""
    with nats_server(tmp_path) as url:
        async with NatsBus(BusSettings(nats_url=url), "test") as opened:
            await declare_when_reachable(opened.js, 1)
            yield opened


@pytest.fixture
def predictor(bus: NatsBus, tmp_path: Path) -> Iterator[Predictor]:
    url = bus.settings.nats_url
    with predictor_process(url, tmp_path, BATON_LOADING="lazy", BATON_HEARTBEAT_S="0.2") as process:
        yield process


async def known(predictor: Predictor, model: Model) -> None:
    """Wait until whichever worker is asked knows a champion."""
    same = 0
    async with asyncio.timeout(20):
        while same < 20:
            told = await asyncio.to_thread(predictor.get, f"/models/{model.name}")
            same = same + 1 if told.get("version") else 0


async def asked_until(over: "asyncio.Task[Any]", predictor: Predictor, model: Model) -> set[int]:
    """Ask, many at a time and each on a connection of its own, until something happened; return the statuses."""
    statuses: set[int] = set()
    while not over.done():
        async with httpx.AsyncClient(base_url=predictor.url, timeout=20) as client:
            asking = [client.post(f"/models/{model.name}/predict", json={"x": 1}) for _ in range(8)]
            statuses |= {answer.status_code for answer in await asyncio.gather(*asking)}
    await over
    return statuses


def fetched(predictor: Predictor) -> float:
    return counted(httpx.get(f"{predictor.url}/metrics", timeout=5).text).get(("baton_bundles_total", "fetched"), 0)


async def test_a_champion_is_loaded_for_who_asks_first_and_followed_from_then_on(
    bus: NatsBus, predictor: Predictor, tmp_path: Path
) -> None:
    wanted, unwanted = Model(bus, tmp_path), Model(bus, tmp_path)
    for model, share in ((wanted, 0.25), (unwanted, 0.75)):
        await model.promote(await model.bundle(share), share)
        await known(predictor, model)
    ready = await asyncio.to_thread(predictor.get, "/ready")
    assert ready["models"] == sorted([wanted.name, unwanted.name])
    assert await last_sequence(bus.js, Stream.LIFECYCLE) == 0, "nobody says that it serves what nobody asked for"
    assert fetched(predictor) == 0

    serving = asyncio.create_task(wanted.said(ModelServing, "1"))
    assert await asked_until(serving, predictor, wanted) == {200}
    assert fetched(predictor) == 1, "one download for all workers"
    await wanted.serve(0.5, prefetch=True)
    answer = await asyncio.to_thread(predictor.predict, wanted.name)
    assert (answer.json()["version"], answer.json()["probabilities"]["1"]) == ("2", pytest.approx(0.5))
    assert (await asyncio.to_thread(predictor.get, f"/models/{unwanted.name}"))["loaded"] is False
    assert fetched(predictor) == 2


async def test_what_fails_its_checks_when_it_is_asked_for_is_rejected(
    bus: NatsBus, predictor: Predictor, tmp_path: Path
) -> None:
    model = Model(bus, tmp_path)
    await model.promote(await model.bundle(0.75, golden_share=0.7), 0.75)
    await known(predictor, model)
    rejecting = asyncio.create_task(model.said(ModelRejected, "1"))
    assert await asked_until(rejecting, predictor, model) == {503}
    assert {said.check for said in (await rejecting).values()} == {"golden"}
    answer = await asyncio.to_thread(predictor.predict, model.name)
    assert "version 1: the model no longer gives its golden answers" in answer.json()["detail"]
    await model.serve(0.3)


async def test_nobody_calls_a_worker_behind_on_what_it_has_not_loaded(
    bus: NatsBus, predictor: Predictor, tmp_path: Path
) -> None:
    model, fleet = Model(bus, tmp_path), Fleet(lambda: 0.0)

    async def alive(msg: Msg) -> None:
        fleet.alive(PredictorAlive.parse(msg.data))

    await bus.client.subscribe(PredictorAlive.type, cb=alive)
    await model.promote(await model.bundle(0.25), 0.25)
    async with asyncio.timeout(20):
        while len([worker for worker in fleet.workers() if worker["models"]]) < WORKERS:
            await asyncio.sleep(0.05)
    said = {"version": "1", "generation": 1, "loaded": False}
    assert [worker["models"] for worker in fleet.workers()] == [{model.name: said}] * WORKERS
    published = Published(
        model=model.name, generation=1, kind="promoted", version="1", ledger="l", published_s_ago=60.0,
        bundle=(await model.bundle(0.25)).model_dump_json(),
    )  # fmt: skip
    assert laggards(fleet.workers(), [published], patience_s=30.0) == []
