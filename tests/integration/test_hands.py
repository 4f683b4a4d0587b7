"""The command line's hands on real processes: promote, approve, roll back, clean up; history, audit, status."""

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from shared.bus import NatsBus
from shared.errors import BundleError
from shared.event import subject_token
from shared.events import PredictorAlive, PromotionRequested, ServedModel
from shared.keys import new_key
from tests.integration.hands import FAILED, REFUSED, UNREACHABLE, Hands, promoter_process
from tests.integration.kit import Versions, new_model
from tests.integration.predictors import Predictor, predictor_process

NEEDS_APPROVAL = new_model()


@pytest.fixture(scope="module")
def predictor(nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Predictor]:
    with predictor_process(nats_url, tmp_path_factory.mktemp("hands")) as process:
        yield process


@pytest.fixture(scope="module")
def promoter_url(
    nats_url: str, database_url: str, tracking_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("promoter")
    policy = folder / "promotion.yaml"
    policy.write_text(json.dumps({"models": {NEEDS_APPROVAL: {"mode": "approve", "metric": "log_loss"}}}))
    servers = (nats_url, database_url, tracking_uri)
    with promoter_process(*servers, folder, BATON_POLICY_FILE=str(policy)) as promoter:
        yield promoter.url


@pytest.fixture
def hands(promoter_url: str, tracking_uri: str, predictor: Predictor, bus: NatsBus, tmp_path: Path) -> Hands:
    return Hands(promoter_url, Versions(tracking_uri, new_model()), bus, tmp_path)


async def test_promote_roll_back_unfreeze_and_the_history_of_it(hands: Hands) -> None:
    model, (one, two) = hands.model, [await hands.good() for _ in range(2)]
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


async def test_the_same_over_http(hands: Hands) -> None:
    one, two = [await hands.good() for _ in range(2)]
    by_ann = {"actor": "ann", "reason": "because"}
    promoted = await hands.post("promote", version=one, **by_ann)
    assert (promoted.status_code, promoted.json()["verdict"]) == (200, "promoted")
    assert (await hands.post("promote", version=two, **by_ann)).status_code == 200
    assert (await hands.post("rollback", **by_ann)).json()["version"] == one
    assert (await hands.post("unfreeze", **by_ann)).json()["verdict"] == "done"
    refused = await hands.post("approve", **by_ann)
    assert (refused.status_code, refused.json()["reason"]) == (409, f"no version of {hands.model} awaits approval")
    found = (await hands.get(f"/decisions/{refused.json()['request_id']}")).json()
    assert found["decision"] == refused.json()["decision"]


async def test_strangers_read_and_do_not_command(hands: Hands) -> None:
    version, path = await hands.good(), f"/models/{subject_token(hands.model)}/promote"
    async with httpx.AsyncClient(base_url=hands.promoter, timeout=30) as client:
        body = {"actor": "eve", "version": version}
        stranger = await client.post(path, json=body)
        wrong = await client.post(path, json=body, headers={"authorization": f"Bearer {new_key()}"})
        page = await client.post(path, content=json.dumps(body), headers={"content-type": "text/plain"})
        assert [answer.status_code for answer in (stranger, wrong, page)] == [401, 401, 415]
        assert "show a token" in stranger.json()["detail"]
        assert (await client.get("/models")).status_code == 200
    assert await hands.bus.last(PromotionRequested, hands.model) is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"version": "1"}, "actor"),
        ({"actor": ""}, "actor"),
        ({"actor": "ann", "version": "three"}, "version"),
        ({"actor": "ann", "versoin": "3"}, "versoin"),
        ({"actor": "ann", "keep": 3}, "keep"),
    ],
)
async def test_a_body_that_cannot_be_used_is_named_field_by_field(
    hands: Hands, body: dict[str, object], field: str
) -> None:
    answer = await hands.post("promote", **body)
    assert answer.status_code == 422
    assert [fault["loc"][-1] for fault in answer.json()["detail"]] == [field]


async def test_a_cleanup_deletes_what_nobody_needs(hands: Hands) -> None:
    model = hands.model
    one, two, three, four, five, six = [await hands.good() for _ in range(6)]
    for generation, version in enumerate((two, three), 1):
        await hands.post("promote", version=version, actor="ann")
        await hands.change(generation)
    await asyncio.to_thread(hands.versions.client.set_registered_model_alias, model, "shadow", four)
    twin = Versions(hands.versions.client.tracking_uri, new_model())
    await asyncio.to_thread(twin.plain, await hands.bundle(five))  # another model's version has the same bundle

    plan = await hands.run("cleanup", model, "--keep", "1", "--dry-run")
    assert [version["version"] for version in plan["deleted"]] == [one, five]
    assert plan["kept"] == {two: "was champion before", three: "is champion", four: "has the alias shadow"}
    assert plan == (await hands.get(f"/models/{model}/cleanup", keep=1)).json()
    bundles = {version: await hands.bundle(version) for version in (one, five, two)}
    assert await hands.numbers() == [one, two, three, four, five, six]

    done = (await hands.run("cleanup", model, "--keep", "1", "--actor", "ann"))["decided"]
    assert (done["verdict"], [version["version"] for version in done["deleted"]]) == ("done", [one, five])
    assert done["reason"].startswith(f"deleted 2 versions of {model} ({one}, {five}); kept {two} (was champion before)")
    assert await hands.numbers() == [two, three, four, six]
    for version in (five, two):
        await hands.bus.fetch_bundle(bundles[version], hands.folder / "there")
    with pytest.raises(BundleError):
        await hands.bus.fetch_bundle(bundles[one], hands.folder / "gone")

    again = (await hands.post("cleanup", keep=6, actor="ann")).json()
    assert (again["reason"], again["deleted"]) == ("nothing to delete", [])


async def test_what_was_champion_at_an_instant(hands: Hands) -> None:
    model, (one, two) = hands.model, [await hands.good() for _ in range(2)]
    instants = [datetime.now(UTC)]
    for version in (one, two):
        assert (await hands.post("promote", version=version, actor="ann", reason=f"for {version}")).status_code == 200
        await hands.change(len(instants))
        instants.append(datetime.now(UTC))
    await asyncio.to_thread(hands.versions.client.delete_registered_model_alias, model, "champion")
    await hands.change(3)
    instants.append(datetime.now(UTC))
    answers = [(await hands.get("/audit", at=instant.isoformat())).json()["models"] for instant in instants]
    answers[2] = (await hands.run("audit", "--at", instants[2].isoformat()))["models"]
    found = [[(row["version"], row["reason"]) for row in rows if row["model"] == model] for rows in answers]
    assert found == [
        [],
        [(one, f"for {one}")],
        [(two, f"for {two}")],
        [(None, "unknown (MLflow): alias champion deleted")],
    ]
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert "in the future" in await hands.run("audit", "--at", tomorrow, expect=FAILED)
    assert (await hands.get("/audit", at="2026-05-01T12:00")).status_code == 422, "no zone"


async def test_the_status_of_the_fleet(hands: Hands, predictor: Predictor) -> None:
    version = await hands.good()
    await hands.run("promote", hands.model, version)
    silent = f"silent-{hands.model[6:]}"
    served = [ServedModel(model=hands.model, version="0", generation=0)]
    await hands.bus.publish(PredictorAlive(predictor=silent, worker=0, models=served, ttl_s=0.05), "")
    deadline = time.monotonic() + 30
    while True:
        workers = (await hands.run("status"))["workers"]
        lost = [worker for worker in workers if worker["predictor"] == silent and worker["state"] == "lost"]
        own = [w["models"][hands.model]["lag"] for w in workers if w["predictor"] == predictor.name]
        if lost and own == [0, 0]:
            break
        assert time.monotonic() < deadline, f"waited 30 s for a lost worker and two that lag by nothing: {workers}"
    assert lost[0]["models"][hands.model] == {"version": "0", "generation": 0, "loaded": True, "lag": 1}


async def test_the_best_version_of_every_model(hands: Hands) -> None:
    """A version that a notebook registered has nothing to judge it by, and says so."""
    version = await hands.good()
    told = await hands.run("promote", "--auto", hands.model, expect=REFUSED)
    assert told["decided"]["version"] == version
    assert "promote it by hand" in told["decided"]["reason"]
    assert hands.model in [model["model"] for model in (await hands.get("/models")).json()["models"]]


async def test_parts_that_do_not_answer_and_models_that_nobody_knows(hands: Hands) -> None:
    unknown = await hands.run("history", "nobody", expect=FAILED)
    assert "no champion of nobody was ever recorded" in unknown
    nowhere = Hands("http://127.0.0.1:9", hands.versions, hands.bus, hands.folder)
    assert "no promoter answers at" in await nowhere.run("status", expect=UNREACHABLE)


async def test_what_awaits_approval_is_shown_and_approved(hands: Hands, tracking_uri: str) -> None:
    own = Hands(hands.promoter, Versions(tracking_uri, NEEDS_APPROVAL), hands.bus, hands.folder)
    assert (await own.judged(noise=0.4)).verdict == "awaiting"
    (standing,) = [row for row in (await own.run("status"))["models"] if row["model"] == NEEDS_APPROVAL]
    assert (standing["champion"], [found["version"] for found in standing["awaiting"]]) == (None, ["1"])
    kept = (await own.get(f"/models/{NEEDS_APPROVAL}/cleanup", keep=1)).json()
    assert kept["deleted"] == []
    approved = await own.run("approve", NEEDS_APPROVAL, "--actor", "ann", "--reason", "looks good")
    assert (approved["decided"]["verdict"], approved["serving"]["version"]) == ("promoted", "1")

    scored = await own.judged(noise=0.0)
    assert scored.verdict == "awaiting"
    assert (await own.run("promote", NEEDS_APPROVAL, "2", "--actor", "bob"))["serving"]["version"] == "2"
    assert (await own.run("approve", NEEDS_APPROVAL, expect=REFUSED))["decided"]["verdict"] == "refused"
    (standing,) = [row for row in (await own.get("/status")).json()["models"] if row["model"] == NEEDS_APPROVAL]
    assert standing["awaiting"] == [], "the champion has changed since"

    by_hand, first = (await own.run("history", NEEDS_APPROVAL))["changes"]
    assert (by_hand["challenger_metrics"], by_hand["champion_metrics"]) == (
        scored.challenger_metrics,
        scored.champion_metrics,
    )
    assert (first["action"], first["actor"], first["reason"]) == ("approve", "ann", "looks good")
    assert first["champion_metrics"] is None
    assert first["challenger_metrics"]["roc_auc"] == by_hand["champion_metrics"]["roc_auc"]
