"""The shipped permissions leave every service what its work needs: the main job, each part as its own user."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from shared.bus import NatsBus
from shared.event import Event, Stream
from shared.events import (
    ModelPromoted,
    ModelServing,
    PromotionDecided,
    PromotionRequested,
    RunFailed,
    RunFinished,
    TrainCancelled,
    TrainRequested,
)
from shared.follow import follow, last_sequence
from tests.integration.hands import promoter_process
from tests.integration.kit import new_model
from tests.integration.predictors import predictor_process
from tests.integration.shipped_nats import environment_of, settings_of, shipped_nats
from tests.servers import answers, free_port, running, wait_for

SERVICES = ("promoter", "trainer", "predictor")


@pytest.fixture
def guarded(database_url: str, tracking_uri: str, tmp_path: Path) -> Iterator[Path]:
    """Run the three services as their users; yield the folder of the secrets."""
    for name in SERVICES:
        (tmp_path / name).mkdir()
    with ExitStack() as stack:
        secrets = stack.enter_context(shipped_nats(tmp_path))
        of = {name: environment_of(secrets, name) for name in SERVICES}
        stack.enter_context(
            promoter_process(
                of["promoter"]["BATON_NATS_URL"], database_url, tracking_uri, tmp_path / "promoter", **of["promoter"]
            )
        )
        port = free_port()
        own = {"BATON_TRAINER_PORT": str(port), "BATON_TRAINER_DIR": str(tmp_path / "trainer" / "scratch")}
        environment = of["trainer"] | own | {"MLFLOW_TRACKING_URI": tracking_uri}
        command = [sys.executable, "-m", "services.trainer"]
        stack.enter_context(running(command, tmp_path / "trainer" / "trainer.log", environment))
        predictor = predictor_process(
            of["predictor"]["BATON_NATS_URL"], tmp_path / "predictor", None, **of["predictor"]
        )
        stack.enter_context(predictor)
        wait_for("the trainer", answers(f"http://127.0.0.1:{port}/health"))
        yield secrets


async def heard(bus: NatsBus, stream: Stream, model: str, kind: type[Event], after: int) -> Event:
    async with asyncio.timeout(150):
        async for received in follow(bus, stream, [kind.subject(model)], after):
            return received.event
    raise AssertionError


@pytest.mark.timeout(600)  # three services start, after a first MLflow
async def test_the_main_job_with_the_least_rights(guarded: Path, tmp_path: Path) -> None:
    model, other = new_model(), new_model()
    async with NatsBus(settings_of(guarded, "client"), "client") as client:
        after = await last_sequence(client.js, Stream.LIFECYCLE)
        cancelled = await client.publish(TrainCancelled(request_id="r", actor="ann", reason="too late"), other)
        assert cancelled.sequence
        wanted = TrainRequested(recipe="logistic-regression", dataset="heart-disease")
        await client.publish(wanted.model_copy(update={"request_id": "r"}), other)
        await client.publish(wanted, model)

        failed = await heard(client, Stream.LIFECYCLE, other, RunFailed, after)
        assert isinstance(failed, RunFailed)
        assert failed.kind == "cancelled"
        for kind in (RunFinished, PromotionDecided, ModelServing):
            await heard(client, Stream.LIFECYCLE, model, kind, after)
        promoted = await heard(client, Stream.CHAMPIONS, model, ModelPromoted, 0)
        assert isinstance(promoted, ModelPromoted)

        after = await last_sequence(client.js, Stream.LIFECYCLE)
        await client.publish(PromotionRequested(action="cleanup", keep=1, actor="ann"), model)
        done = await heard(client, Stream.LIFECYCLE, model, PromotionDecided, after)
        assert isinstance(done, PromotionDecided)
        assert done.verdict in {"done", "refused"}
    for name in SERVICES:
        log = (tmp_path / name / f"{name}.log").read_text()
        assert "NATS does not allow" not in log, f"{name}: {log}"
