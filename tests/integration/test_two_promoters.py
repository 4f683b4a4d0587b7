"""Two promoters, and 200 finished runs, commands and moves of aliases at once: nothing is skipped, doubled or lost."""

import asyncio
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from shared.bus import NatsBus
from shared.events import PromotionRequested, RunFinished
from shared.mlflow_errors import OUT_OF_DATE, is_transient
from shared.settings import BusSettings
from tests.chaos import checks, witness
from tests.chaos.evidence import Evidence
from tests.chaos.reading import gathered
from tests.integration.kit import Versions, new_model
from tests.integration.predictors import WORKERS, Predictor, predictor_process
from tests.servers import answers, free_port, running, wait_for

MODELS, NOISES = 5, (0.1, 0.2, 0.3, 0.4)
RUNS, COMMANDS, MOVES = 80, 60, 60  # 200 in all, spread over the models
QUIET_WITHIN_S = 150.0
LATE = (
    checks.one_decision_per_event,
    checks.each_generation_is_published_once,
    checks.predictors_serve_champions,
    checks.stages_agree,
)


@pytest.fixture
def promoters(database_url: str, tracking_uri: str, nats_url: str, tmp_path: Path) -> Iterator[None]:
    with ExitStack() as both:
        healthy = []
        for name in ("promoter-1", "promoter-2"):
            port = free_port()
            environment = {
                "BATON_NATS_URL": nats_url,
                "BATON_DATABASE_URL": database_url,
                "MLFLOW_TRACKING_URI": tracking_uri,
                "BATON_PROMOTER_PORT": str(port),
            }
            both.enter_context(
                running([sys.executable, "-m", "services.promoter"], tmp_path / f"{name}.log", environment)
            )
            healthy.append(answers(f"http://127.0.0.1:{port}/health"))
        wait_for(f"two promoters (see {tmp_path})", lambda: all(check() for check in healthy))
        yield


@pytest.fixture
def predictor(nats_url: str, tmp_path: Path) -> Iterator[Predictor]:
    with predictor_process(nats_url, tmp_path) as process:
        yield process


@pytest.fixture
def witnessed(promoters: None, database_url: str) -> Iterator[str]:
    """Let the witness see what is committed; the promoters have made sure that MLflow's tables are there."""
    witness.install(database_url)
    yield database_url
    witness.remove(database_url)


@pytest.mark.timeout(240)
async def test_two_promoters_under_200_concurrent_events(
    witnessed: str, nats_url: str, tracking_uri: str, predictor: Predictor, tmp_path: Path
) -> None:
    async with NatsBus(BusSettings(nats_url=nats_url), "test") as bus:
        models = [Versions(tracking_uri, new_model()) for _ in range(MODELS)]
        runs = {
            versions.model: [await versions.trained(bus, tmp_path, noise=noise) for noise in NOISES]
            for versions in models
        }
        commands = [str(uuid.uuid4()) for _ in range(COMMANDS)]
        moving = asyncio.gather(*(move(models[0], model, run.version) for model, run in spread(runs, MOVES)))
        await asyncio.gather(
            *(finish(bus, model, run) for model, run in spread(runs, RUNS)),
            *(ask_for(bus, *case, command) for case, command in zip(spread(runs, COMMANDS), commands, strict=True)),
        )
        refused = sum(await moving)
        evidence = await settled(Evidence(models=list(runs), commands=commands), witnessed, bus, predictor)
    assert found(checks.CHECKS, evidence) == []
    assert len(evidence.endings) == RUNS
    changes = checks.changes_of(evidence.witnessed)
    print(f"\n{sum(map(len, changes.values()))} changes of {len(changes)} champions, {refused} moves refused")
    for versions in models:
        generation, version = changes[versions.model][-1]
        assert versions.client.get_model_version_by_alias(versions.model, "champion").version == version
        assert [serving[versions.model] for serving in evidence.serving.values()] == [(version, generation)] * WORKERS


def spread(runs: dict[str, list[RunFinished]], count: int) -> Iterator[tuple[str, RunFinished]]:
    """Yield the runs of all models in turn, again and again."""
    every = [(model, run) for same in zip(*runs.values(), strict=True) for model, run in zip(runs, same, strict=True)]
    return islice(cycle(every), count)


async def finish(bus: NatsBus, model: str, run: RunFinished) -> None:
    request = str(uuid.uuid4())  # another request every time: each is an event of its own
    await bus.publish(run.model_copy(update={"request_id": request}), model, event_id=f"{request}:ended")


async def ask_for(bus: NatsBus, model: str, run: RunFinished, identity: str) -> None:
    await bus.publish(PromotionRequested(version=run.version, actor="a person"), model, event_id=identity)


async def move(versions: Versions, model: str, version: str) -> int:
    """Move the alias as a notebook does; return how often that was taken for a promoter's that is out of date."""
    refused = 0
    while True:
        try:
            await asyncio.to_thread(versions.client.set_registered_model_alias, model, "champion", version)
        except MlflowException as error:
            if not is_transient(error) and OUT_OF_DATE not in error.message:
                raise
            refused += OUT_OF_DATE in error.message
            await asyncio.sleep(0.1)
        else:
            return refused


def found(which: Iterable[checks.Check], evidence: Evidence) -> list[str]:
    """Return violations; nobody trained anything here, so there are no requests to speak of."""
    return [violation for check in which if "request" not in check.__name__ for violation in check(evidence)]


async def settled(asked: Evidence, database: str, bus: NatsBus, predictor: Predictor) -> Evidence:
    """Wait until every event is decided on and every change is published, served and mirrored."""
    missing: list[str] = []
    try:
        async with asyncio.timeout(QUIET_WITHIN_S):
            while True:
                evidence = await gathered(asked, database, bus.js, [predictor.url], WORKERS)
                missing = found(LATE, evidence)
                if not missing and len(evidence.endings) == RUNS:
                    return evidence
                await asyncio.sleep(0.5)
    except TimeoutError:
        pytest.fail(f"waited {QUIET_WITHIN_S:.0f} s in vain: {missing}")
