"""The trainer as a process, on real NATS, MLflow and PostgreSQL."""

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import mlflow.sklearn
import psutil
import pytest
from mlflow import MlflowClient

from shared.bus import NatsBus
from shared.event import Event, Stream
from shared.events import RunFailed, RunFinished, RunProgress, TrainCancelled, TrainRequested
from shared.follow import Received, follow, last_sequence
from shared.registry import Registry
from shared.settings import BusSettings
from shared.verification import verify
from tests.exposition import counted
from tests.processes import wait_until_ended
from tests.servers import answers, free_port, running, wait_for

pytestmark = pytest.mark.timeout(180)

FINISHED = ("baton_train_request_seconds_count", "finished")
OWN_RECIPE = '''
from sklearn.tree import DecisionTreeClassifier

from services.trainer.recipes import TrainingData, recipe


@recipe("own-tree")
def own_tree(data: TrainingData, *, depth: int = 3):
    """A decision tree of one's own."""
    tree = DecisionTreeClassifier(max_depth=depth, random_state=data.seed)
    return data.pipeline(tree).fit(data.features, data.target)
'''
SLEEPING_RECIPE = """
import time

from services.trainer.recipes import TrainingData, recipe


@recipe("sleeping")
def sleeping(data: TrainingData):
    time.sleep(300)
"""
FLOWERS = "\n".join(
    ["length,width,colour,kind"]
    + [f"{n % 7 + (n % 3) * 5},{n % 5},{'red' if n % 2 else 'blue'},{'abc'[n % 3]}" for n in range(120)]
)


@contextmanager
def trainer_process(environment: dict[str, str], log: Path) -> Iterator[psutil.Process]:
    port = free_port()
    with running(
        [sys.executable, "-m", "services.trainer"], log, {**environment, "BATON_TRAINER_PORT": str(port)}
    ) as p:
        wait_for(f"the trainer (see {log})", answers(f"http://127.0.0.1:{port}/health"))
        yield psutil.Process(p.pid)


def scraped(trainer: psutil.Process) -> dict[tuple[str, ...], float]:
    return counted(httpx.get(f"http://127.0.0.1:{trainer.environ()['BATON_TRAINER_PORT']}/metrics", timeout=5).text)


@pytest.fixture(scope="module")
def environment(nats_url: str, tracking_uri: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("trainer")
    recipes, data = home / "recipes", home / "data"
    recipes.mkdir()
    data.mkdir()
    (recipes / "own.py").write_text(OWN_RECIPE)
    (recipes / "sleeping.py").write_text(SLEEPING_RECIPE)
    (recipes / "broken.py").write_text("import no_such_library\n")
    (data / "flowers.csv").write_text(FLOWERS)
    return {
        "BATON_NATS_URL": nats_url,
        "MLFLOW_TRACKING_URI": tracking_uri,
        "BATON_TRAINER_DIR": str(home / "scratch"),
        "BATON_RECIPES_DIR": str(recipes),
        "BATON_DATA_ROOTS": str(data),
    }


@pytest.fixture(scope="module")
def trainer(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[psutil.Process]:
    with trainer_process(environment, tmp_path_factory.mktemp("log") / "trainer.log") as process:
        yield process


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[NatsBus]:
    async with NatsBus(BusSettings(nats_url=nats_url), "test") as bus:
        yield bus


class Listener:
    """Hears what is said of one request."""

    def __init__(self, events: AsyncIterator[Received], request_id: str) -> None:
        self._events = events
        self._request_id = request_id

    async def until(self, *kinds: type[Event], deadline_s: float = 90) -> Event:
        async with asyncio.timeout(deadline_s):
            async for received in self._events:
                event = received.event
                if isinstance(event, kinds) and getattr(event, "request_id", None) == self._request_id:
                    return event
        pytest.fail(f"the stream ended before {kinds}")


@asynccontextmanager
async def requested(bus: NatsBus, model: str, **fields: object) -> AsyncIterator[tuple[TrainRequested, Listener]]:
    """Publish a train request, and listen to what comes of it."""
    given: dict[str, object] = {"recipe": "logistic-regression", "dataset": "heart-disease"}
    request = TrainRequested.model_validate(given | fields | {"request_id": str(uuid.uuid4())})
    after = await last_sequence(bus.js, Stream.LIFECYCLE)
    await bus.publish(request, model, event_id=request.request_id)
    yield request, Listener(follow(bus, Stream.LIFECYCLE, ["run.>"], after), request.request_id or "")


async def ended(bus: NatsBus, model: str, **fields: object) -> Event:
    async with requested(bus, model, **fields) as (_, listener):
        return await listener.until(RunFinished, RunFailed)


def versions(tracking_uri: str, model: str) -> list[str]:
    found = MlflowClient(tracking_uri, tracking_uri).search_model_versions(f"name = '{model}'")
    return sorted(version.version for version in found)


async def test_a_request_ends_in_a_run_a_version_and_a_bundle(
    trainer: psutil.Process, bus: NatsBus, tracking_uri: str, tmp_path: Path
) -> None:
    finished = await ended(bus, "heart", params={"C": 0.5}, tags={"team": "cardiology"})
    assert isinstance(finished, RunFinished), finished
    await asyncio.to_thread(wait_for, "the run in the metrics", lambda: FINISHED in scraped(trainer))
    assert 0 < scraped(trainer)["baton_train_request_seconds_sum", "finished"] < 180
    empty = lambda: scraped(trainer)["baton_train_queue",] == 0  # noqa: E731
    await asyncio.to_thread(wait_for, "the queue to be empty, of what other tests asked for, too", empty)
    assert finished.version == "1"
    assert finished.metrics.keys() >= {
        "roc_auc",
        "accuracy",
        "f1",
        "log_loss",
        "brier",
        "cv_roc_auc_mean",
        "cv_roc_auc_std",
    }
    assert finished.holdout is not None
    await bus.fetch_bundle(finished.bundle, tmp_path / "bundle.tar")
    assert verify(tmp_path / "bundle.tar", tmp_path / "model", finished.bundle.digest).manifest.output.classes == [0, 1]

    client = MlflowClient(tracking_uri, tracking_uri)
    run = client.get_run(finished.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["C"] == "0.5"
    assert run.data.tags["team"] == "cardiology"
    assert run.inputs is not None
    assert run.inputs.dataset_inputs[0].dataset.name == "heart-disease"
    assert client.get_experiment(run.info.experiment_id).name == "heart-disease-classification"
    plots = {artifact.path for artifact in client.list_artifacts(finished.run_id, "plots")}
    assert plots == {"plots/confusion_matrix.png", "plots/roc_curve.png"}
    mlflow.set_tracking_uri(tracking_uri)
    assert mlflow.sklearn.load_model("models:/heart/1").classes_.tolist() == [0, 1]
    registry = Registry(tracking_uri)
    holdout = registry.download(finished.run_id, finished.holdout.artifact, tmp_path)
    assert holdout.stat().st_size > 0


async def test_a_message_that_is_delivered_again_makes_no_second_version(
    trainer: psutil.Process, bus: NatsBus, tracking_uri: str
) -> None:
    async with requested(bus, "twice") as (request, listener):
        first = await listener.until(RunFinished, RunFailed)
        await bus.publish(request, "twice", event_id=str(uuid.uuid4()))
    await ended(bus, "twice-after", recipe="no-such")  # the work queue is in order: the repetition was handled before
    assert isinstance(first, RunFinished)
    assert versions(tracking_uri, "twice") == ["1"]


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"recipe": "no-such"}, "recipe", "random-forest"),
        ({"recipe": "no-such"}, "recipe", "broken.py"),
        ({"dataset": "/etc/passwd"}, "dataset", "heart-disease"),
        ({"dataset": "no-such"}, "dataset", "heart-disease"),
        ({"target": "no_such"}, "target", "thalach"),
        ({"params": {"C": -1}}, "params.C", "greater than 0"),
        ({"params": {"D": 1}}, "params.D", "max_iter"),
    ],
)
async def test_a_request_that_cannot_be_carried_out_is_refused_by_field(
    trainer: psutil.Process, bus: NatsBus, fields: dict[str, object], field: str, words: str
) -> None:
    failed = await ended(bus, "refused", **fields)
    assert isinstance(failed, RunFailed)
    assert (failed.kind, failed.field) == ("refused", field)
    assert words in failed.message


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"no json", ""),
        (b'{"dataset": "heart-disease"}', "recipe"),
        (b'{"recipe":"a","dataset":"b","seeed":1}', "seeed"),
    ],
)
async def test_a_malformed_request_ends_as_failed_and_leaves_the_queue(
    trainer: psutil.Process, bus: NatsBus, body: bytes, field: str
) -> None:
    after = await last_sequence(bus.js, Stream.LIFECYCLE)
    ack = await bus.js.publish("train.requested.malformed", body)
    events = follow(bus, Stream.LIFECYCLE, ["run.failed.malformed"], after)
    failed = await Listener(events, f"TRAINING-{ack.seq}").until(RunFailed)
    assert isinstance(failed, RunFailed)
    assert (failed.kind, failed.field) == ("malformed", field)

    async with asyncio.timeout(30):
        while (await bus.js.stream_info("TRAINING")).state.messages:
            await asyncio.sleep(0.05)


async def test_own_data_and_recipe_are_two_settings_away(
    trainer: psutil.Process, environment: dict[str, str], bus: NatsBus
) -> None:
    flowers = f"{environment['BATON_DATA_ROOTS']}/flowers.csv"
    finished = await ended(bus, "flowers", recipe="own-tree", dataset=flowers, target="kind", params={"depth": 4})
    assert isinstance(finished, RunFinished), finished
    assert finished.metrics["accuracy"] > 0.5


async def test_a_cancel_stops_the_training(trainer: psutil.Process, bus: NatsBus) -> None:
    async with requested(bus, "cancelled", recipe="sleeping") as (request, listener):
        await listener.until(RunProgress)
        await bus.publish(TrainCancelled(request_id=request.request_id or "", actor="me"), "cancelled")
        failed = await listener.until(RunFailed)
    assert isinstance(failed, RunFailed)
    assert failed.kind == "cancelled"


async def test_a_cancel_that_overtakes_its_request_wins(trainer: psutil.Process, bus: NatsBus) -> None:
    request = TrainRequested(recipe="sleeping", dataset="heart-disease", request_id=str(uuid.uuid4()))
    identity = request.request_id or ""
    after = await last_sequence(bus.js, Stream.LIFECYCLE)
    await bus.publish(TrainCancelled(request_id=identity, actor="me"), "overtaken")
    async with asyncio.timeout(30):
        while await bus.request_state(f"cancelled/{identity}") is None:
            await asyncio.sleep(0.05)
    await bus.publish(request, "overtaken", event_id=identity)
    failed = await Listener(follow(bus, Stream.LIFECYCLE, ["run.>"], after), identity).until(RunFailed)
    assert isinstance(failed, RunFailed)
    assert failed.kind == "cancelled"


async def test_a_killed_child_is_tried_again_and_makes_one_version(
    trainer: psutil.Process, bus: NatsBus, tracking_uri: str
) -> None:
    async with requested(bus, "killed", recipe="random-forest") as (_, listener):
        await listener.until(RunProgress)
        job = next(child for child in trainer.children(recursive=True) if not child.children() and _is_job(child))
        job.kill()
        finished = await listener.until(RunFinished, RunFailed)
    assert isinstance(finished, RunFinished), finished
    assert versions(tracking_uri, "killed") == ["1"]


def _is_job(child: psutil.Process) -> bool:
    parent = child.parent()
    return parent is not None and "forkserver" in " ".join(parent.cmdline())


async def test_what_a_killed_trainer_was_at_work_on_is_taken_over(
    trainer: psutil.Process, environment: dict[str, str], bus: NatsBus, tmp_path: Path
) -> None:
    log = tmp_path / "trainer.log"
    with trainer_process({**environment, "BATON_CONCURRENCY": "2"}, log) as other:
        async with AsyncExitStack() as stack:
            asked = [await stack.enter_async_context(requested(bus, "orphans", recipe="sleeping")) for _ in range(3)]
            for _, listener in asked:  # one at the first trainer, two at the other, all at once
                await listener.until(RunProgress)
            family = other.children(recursive=True)
            assert sum(_is_job(child) for child in family) == 2
            os.kill(other.pid, signal.SIGKILL)
            await asyncio.to_thread(wait_until_ended, family)
            for request, _ in asked:
                await bus.publish(TrainCancelled(request_id=request.request_id or "", actor="me"), "orphans")
            ends = [await listener.until(RunFinished, RunFailed) for _, listener in asked]
    assert [end.kind for end in ends if isinstance(end, RunFailed)] == ["cancelled"] * 3


@pytest.mark.parametrize(
    ("body", "identity"),
    [(b'{"request_id": "my-own-id", "recipe": 1}', "my-own-id"), (b'{"recipe": "a"}', "urn=3Aorder=3A7")],
)
async def test_a_malformed_request_is_answered_by_the_id_it_has(
    trainer: psutil.Process, bus: NatsBus, body: bytes, identity: str
) -> None:
    after = await last_sequence(bus.js, Stream.LIFECYCLE)
    await bus.js.publish("train.requested.named", body, headers={"ce-id": "urn:order:7"})
    failed = await Listener(follow(bus, Stream.LIFECYCLE, ["run.failed.named"], after), identity).until(RunFailed)
    assert isinstance(failed, RunFailed)
    assert failed.kind == "malformed"


async def test_a_subject_with_more_than_one_token_is_malformed(trainer: psutil.Process, bus: NatsBus) -> None:
    after = await last_sequence(bus.js, Stream.LIFECYCLE)
    body = TrainRequested(recipe="own-tree", dataset="heart-disease", request_id="dotted").model_dump_json()
    await bus.js.publish("train.requested.my.model", body.encode())
    failed = await Listener(follow(bus, Stream.LIFECYCLE, ["run.failed.>"], after), "dotted").until(RunFailed)
    assert isinstance(failed, RunFailed)
    assert failed.kind == "malformed"
