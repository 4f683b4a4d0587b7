"""A whole promoter on real servers: from `run.finished` to `model.promoted`, and what it answers over HTTP."""

import asyncio
import statistics
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest
from fastapi import FastAPI

from services.promoter.cases import case_of_run
from services.promoter.ledger.database import Database
from services.promoter.ledger.ledger import Intent, Ledger
from shared.bus import NatsBus
from shared.events import (
    ModelPromoted,
    ModelServing,
    PredictorAlive,
    PromotionDecided,
    PromotionRequested,
    RunFinished,
    ServedModel,
)
from tests.exposition import counted
from tests.integration.kit import Versions, listening_to, new_model, promoter

GOOD, POOR, WORST = 0.0, 0.4, 0.6  # share of the training labels turned around


@pytest.fixture
def versions(tracking_uri: str) -> Versions:
    return Versions(tracking_uri, new_model())


@pytest.fixture
async def app(database_url: str, tracking_uri: str, nats_url: str, bus: NatsBus) -> AsyncIterator[FastAPI]:
    async with promoter(database_url, tracking_uri, nats_url) as running:
        yield running


async def get(app: FastAPI, path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        return await client.get(path)


async def decision_on(bus: NatsBus, model: str, event: RunFinished | PromotionRequested) -> PromotionDecided:
    """Publish what asks for a decision, and wait for the decision."""
    async with listening_to(bus, model, PromotionDecided) as ear:
        await bus.publish(event, model)
        decided = await asyncio.wait_for(ear.next(), 30)
    assert isinstance(decided, PromotionDecided)
    return decided


async def champion(bus: NatsBus, model: str, generation: int) -> ModelPromoted:
    """Wait until a generation of a model is on the bus."""
    async with asyncio.timeout(20):
        while True:
            found = await bus.last(ModelPromoted, model)
            if found and isinstance(found[1], ModelPromoted) and found[1].generation >= generation:
                return found[1]
            await asyncio.sleep(0.02)


async def test_the_better_model_is_promoted_and_the_worse_refused(
    app: FastAPI, bus: NatsBus, versions: Versions, tmp_path: Path
) -> None:
    model = versions.model
    first = await versions.trained(bus, tmp_path, noise=POOR)
    decided = await decision_on(bus, model, first)
    assert (decided.verdict, decided.champion, decided.request_id) == ("promoted", None, first.request_id)
    promoted = await champion(bus, model, 1)
    assert (promoted.version, promoted.actor, promoted.decision) == (first.version, "promoter", decided.decision)
    assert promoted.bundle == first.bundle

    equal = await decision_on(bus, model, await versions.trained(bus, tmp_path, noise=POOR))
    assert equal.verdict == "refused"
    assert "equals the champion's" in equal.reason

    reversed_labels = await decision_on(bus, model, await versions.trained(bus, tmp_path, noise=WORST))
    assert reversed_labels.verdict == "refused"
    assert "below the floor" in reversed_labels.reason
    assert reversed_labels.champion_metrics == decided.challenger_metrics, "both were judged on the same rows"

    history = (await get(app, f"/models/{model}/history")).json()
    assert [row["version"] for row in history] == [first.version]

    found = counted((await get(app, "/metrics")).text)
    assert found["baton_decisions_total", "promote", "promoted"] >= 1  # of models that other tests left, too
    assert found["baton_decisions_total", "promote", "refused"] >= 2
    assert found["baton_publish_delay_seconds_count", "promoted"] >= 1
    assert found["baton_ledger_generation", model] == 1
    assert found["baton_outbox_changes", model] == found["baton_outbox_age_seconds", model] == 0
    assert history[0]["challenger_metrics"]["roc_auc"] == pytest.approx(decided.challenger_metrics["roc_auc"])
    told = (await get(app, f"/decisions/{equal.decision}")).json()
    assert (told["verdict"], told["model"], told["intent"]) == ("refused", model, None)


async def test_an_event_delivered_again_changes_nothing(
    app: FastAPI, bus: NatsBus, versions: Versions, tmp_path: Path
) -> None:
    model = versions.model
    finished = await versions.trained(bus, tmp_path, noise=GOOD)
    await bus.publish(finished, model, event_id=f"run of {model}")
    first = await champion(bus, model, 1)
    by_hand = versions.plain(bundle=None)
    versions.client.set_registered_model_alias(model, "champion", by_hand)

    # The id is the event's identity, whatever its place in the stream: as after deduplication forgot it.
    headers = {"ce-id": f"run of {model}".replace(" ", "%20")}
    await bus.js.publish(RunFinished.subject(model), finished.model_dump_json().encode(), headers=headers)
    after = await decision_on(bus, model, await versions.trained(bus, tmp_path, noise=GOOD))  # handled after it
    assert after.reason == f"version {by_hand} has no Baton bundle to score: promote by hand"
    assert versions.client.get_model_version_by_alias(model, "champion").version == by_hand
    assert (await champion(bus, model, 1)) == first


async def test_a_decision_that_was_overtaken_is_judged_again(
    app: FastAPI, bus: NatsBus, versions: Versions, tmp_path: Path, database_url: str
) -> None:
    """As if somebody moved the alias between the decision on the challenger and its promotion."""
    model = versions.model
    challenger = await versions.trained(bus, tmp_path, noise=POOR)
    by_hand = await versions.trained(bus, tmp_path, noise=GOOD)
    versions.client.set_registered_model_alias(model, "champion", by_hand.version)
    stale = PromotionDecided(
        decision=str(uuid.uuid4()), request_id=challenger.request_id, version=challenger.version, champion=None,
        verdict="promoted", reason="there was no champion", rules=[], challenger_metrics={},
    )  # fmt: skip
    database = Database(database_url, threads=1)
    case = case_of_run(f"run of {model}", model, challenger, final=False)
    await Ledger(database).record(case, stale, Intent(0, "promoter", "there was no champion"))
    database.close()
    async with listening_to(bus, model, PromotionDecided) as ear:
        await bus.publish(challenger, model, event_id=f"run of {model}")
        decisions = [await asyncio.wait_for(ear.next(), 20) for _ in range(2)]
    assert decisions[0] == stale
    assert isinstance(decisions[1], PromotionDecided)
    assert (decisions[1].verdict, decisions[1].champion) == ("refused", by_hand.version)
    assert versions.client.get_model_version_by_alias(model, "champion").version == by_hand.version


async def test_a_challenger_whose_rows_the_champion_cannot_read_is_refused(
    app: FastAPI, bus: NatsBus, versions: Versions, tmp_path: Path
) -> None:
    await decision_on(bus, versions.model, await versions.trained(bus, tmp_path, noise=POOR, column="old"))
    await champion(bus, versions.model, 1)
    decided = await decision_on(bus, versions.model, await versions.trained(bus, tmp_path, noise=GOOD, column="new"))
    assert decided.verdict == "refused"
    assert decided.reason == "the champion needs 'old', which the challenger's held-out rows do not have"


async def test_promotion_by_hand_and_back(app: FastAPI, bus: NatsBus, versions: Versions, tmp_path: Path) -> None:
    model = versions.model
    runs = [await versions.trained(bus, tmp_path, noise=noise) for noise in (GOOD, POOR)]
    for generation, version in enumerate([runs[0].version, runs[1].version, "previous"], 1):
        request = PromotionRequested(version=version, actor="ann", reason="because")
        decided = await decision_on(bus, model, request)
        assert decided.verdict == "promoted", decided.reason
        promoted = await champion(bus, model, generation)
        assert (promoted.actor, promoted.reason) == ("ann", "because")
    assert promoted.version == runs[0].version

    further = await decision_on(bus, model, PromotionRequested(action="rollback", actor="ann"))
    assert further.reason == f"{model} has no earlier champion to go back to"
    unknown = await decision_on(bus, model, PromotionRequested(version="99", actor="ann"))
    assert unknown.reason == f"{model} has no version 99 to promote"


async def test_a_malformed_event_is_dropped_and_holds_nobody_up(
    app: FastAPI, bus: NatsBus, versions: Versions, tmp_path: Path
) -> None:
    await bus.js.publish(RunFinished.subject(versions.model), b'{"version": 1}')
    await bus.js.publish(RunFinished.subject(versions.model), b"not json")
    decided = await decision_on(bus, versions.model, await versions.trained(bus, tmp_path, noise=GOOD))
    assert decided.verdict == "promoted"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"not json", "Invalid JSON"),
        (b'{"actor": "ann", "version": "three"}', "version"),
        (b'{"actor": "ann", "versoin": "3"}', "versoin"),
        (b'{"version": "3"}', "actor"),
        (b'{"actor": "ann", "action": "cleanup"}', "keep"),
    ],
)
async def test_a_malformed_command_is_refused_by_name(app: FastAPI, bus: NatsBus, body: bytes, named: str) -> None:
    model = new_model()
    async with listening_to(bus, model, PromotionDecided) as ear:
        await bus.js.publish(PromotionRequested.subject(model), body, headers={"ce-id": f"of-{named}-{model[6:]}"})
        decided = await asyncio.wait_for(ear.next(), 30)
    assert isinstance(decided, PromotionDecided)
    assert (decided.verdict, decided.request_id) == ("refused", f"of-{named}-{model[6:]}")
    assert named in decided.reason


async def test_a_command_for_a_name_that_mlflow_does_not_take_is_refused(app: FastAPI, bus: NatsBus) -> None:
    for model in ("a/b:c", "..", 'o\'hara "x"'):
        decided = await decision_on(bus, model, PromotionRequested(version="3", actor="ann"))
        assert decided.verdict == "refused"
        assert decided.reason.startswith("model: ")


async def test_the_fleet_is_what_workers_said(app: FastAPI, bus: NatsBus) -> None:
    predictor, model = f"predictor-{uuid.uuid4()}", new_model()
    serving: dict[str, Any] = dict.fromkeys(("load_ms", "verify_ms", "swap_ms", "delay_ms"), 1.0)
    said = ModelServing(
        predictor=predictor, worker=0, version="3", generation=5, ledger="l", prefetched=True, **serving
    )
    await bus.publish(said, model)
    served = [ServedModel(model=model, version="2", generation=4)]
    await bus.publish(PredictorAlive(predictor=predictor, worker=1, models=served, ttl_s=30), model)
    async with asyncio.timeout(10):
        while True:
            fleet = [worker for worker in (await get(app, "/fleet")).json() if worker["predictor"] == predictor]
            if len(fleet) == 2:
                break
            await asyncio.sleep(0.02)
    assert [worker["models"][model]["version"] for worker in fleet] == ["3", "2"]


async def test_health_documents_and_unknown_things(app: FastAPI) -> None:
    assert (await get(app, "/health")).status_code == 200
    assert "run.finished" in str((await get(app, "/asyncapi.json")).json()["channels"])
    assert "AsyncApiStandalone" in (await get(app, "/asyncapi")).text
    assert (await get(app, "/models/nobody/history")).status_code == 404
    assert (await get(app, "/decisions/none")).status_code == 404


async def test_the_relay_outlives_its_database_connections(
    app: FastAPI, bus: NatsBus, versions: Versions, database_url: str
) -> None:
    """As after a restart of PostgreSQL: every connection of the promoter is cut, in the middle of things."""
    one, two = versions.plain(), versions.plain()
    versions.client.set_registered_model_alias(versions.model, "champion", one)
    await champion(bus, versions.model, 1)
    with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'baton-promoter'"
        )
        assert cursor.rowcount >= 2
    connection.close()
    versions.client.set_registered_model_alias(versions.model, "champion", two)
    assert (await champion(bus, versions.model, 2)).version == two


async def test_a_second_promoter_takes_over(
    database_url: str, tracking_uri: str, nats_url: str, bus: NatsBus, versions: Versions
) -> None:
    one, two = versions.plain(), versions.plain()
    async with promoter(database_url, tracking_uri, nats_url) as _:
        first = promoter(database_url, tracking_uri, nats_url)
        await first.__aenter__()
        versions.client.set_registered_model_alias(versions.model, "champion", one)
        await champion(bus, versions.model, 1)
        await first.__aexit__(None, None, None)
        versions.client.set_registered_model_alias(versions.model, "champion", two)
        assert (await champion(bus, versions.model, 2)).version == two


async def test_the_delay_from_commit_to_bus(app: FastAPI, bus: NatsBus, versions: Versions) -> None:
    """Measured and printed, not judged: the machine may be busy."""
    both, delays = [versions.plain(), versions.plain()], []
    subscription = await bus.client.subscribe(ModelPromoted.subject(versions.model))
    for step in range(10):
        move = asyncio.to_thread(versions.client.set_registered_model_alias, versions.model, "champion", both[step % 2])
        moving = asyncio.create_task(move)
        message = await subscription.next_msg(timeout=10)
        arrived = datetime.now(UTC)
        delays.append((arrived - ModelPromoted.parse(message.data).committed_at).total_seconds() * 1e3)
        await moving
    print(f"\ncommit to bus: median {statistics.median(delays):.1f} ms, worst {max(delays):.1f} ms: {delays}")
