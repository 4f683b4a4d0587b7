"""The main job, as users run it: `baton demo --keep`, and then everything that can be done with a running stack."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from shared.bus import NatsBus
from shared.event import Stream
from shared.events import ModelServing
from shared.follow import follow, last_sequence
from shared.settings import BusSettings
from tests.processes import wait_until_ended
from tests.servers import wait_for
from tests.stack import BATON, RunningStack, running_stack

ROOT = Path(__file__).parents[2]
MODEL = "heart-disease"
PATIENT = {
    "age": 63, "sex": 1, "cp": 3, "trestbps": 145, "chol": 233, "fbs": 1, "restecg": 0,
    "thalach": 150, "exang": 0, "oldpeak": 2.3, "slope": 0, "ca": 0, "thal": 1,
}  # fmt: skip

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with running_stack(["demo", "--keep"], tmp_path_factory.mktemp("demo") / "data") as running:
        yield running


def workers(stack: RunningStack, model: str = MODEL) -> dict[int, str | None]:
    """Return the version that each worker serves, asking until each has answered."""
    versions: dict[int, str | None] = {}

    def ask() -> bool:
        answer = httpx.get(f"{stack.state.urls['predictor']}/models", timeout=5).json()
        served = {entry["model"]: entry["version"] for entry in answer["models"]}
        versions[answer["worker"]] = served.get(model)
        return len(versions) == 2

    wait_for("both workers to answer", ask)
    return versions


def wait_until_served(stack: RunningStack, version: str) -> None:
    wait_for(f"both workers to serve version {version}", lambda: set(workers(stack).values()) == {version})


def test_the_demo_tells_its_story(stack: RunningStack) -> None:
    report = stack.report()
    assert report["requests"] > 100
    assert report["failed"] == 0
    assert set(report["versions"]) == {"1", "2"}
    assert [promotion["version"] for promotion in report["promotions"]] == ["1", "2", "1"]
    assert [set(promotion["delay_ms"]) for promotion in report["promotions"]] == [{"0", "1"}] * 3
    assert report["promotions"][-1]["by"] == "unknown (MLflow)"
    assert report["refused"][0]["version"] == "3"
    assert "roc_auc" in report["refused"][0]["reason"]
    print(
        f"ready {report['ready_s']:.1f} s, all {report['total_s']:.1f} s", [p["delay_ms"] for p in report["promotions"]]
    )


def test_the_request_of_the_readme_is_answered(stack: RunningStack) -> None:
    answer = httpx.post(f"{stack.state.urls['predictor']}/predict", json=PATIENT).raise_for_status().json()
    assert answer.keys() == {"model", "version", "prediction", "probabilities"}
    assert answer["model"] == MODEL
    assert answer["prediction"] in {0, 1}
    assert sum(answer["probabilities"].values()) == pytest.approx(1)


def test_several_rows_and_bad_rows(stack: RunningStack) -> None:
    url = f"{stack.state.urls['predictor']}/models/{MODEL}/predict"
    assert len(httpx.post(url, json=[PATIENT, PATIENT]).json()["predictions"]) == 2
    bad = httpx.post(url, json={**PATIENT, "age": "old", "shoe_size": 43})
    assert bad.status_code == 422
    assert {fault["field"] for fault in bad.json()["detail"]} == {"age", "shoe_size"}
    assert httpx.post(url.replace(MODEL, "no-such"), json=PATIENT).status_code == 404


async def served_after(stack: RunningStack, change: Callable[[], object]) -> dict[int, ModelServing]:
    """Make a change from outside Baton, and return what each worker says when it serves it."""
    async with NatsBus(BusSettings(nats_url=stack.state.urls["nats"]), "test") as bus:
        after = await last_sequence(bus.js, Stream.LIFECYCLE)
        await asyncio.to_thread(change)
        serving: dict[int, ModelServing] = {}
        async with asyncio.timeout(30):
            async for received in follow(bus, Stream.LIFECYCLE, [ModelServing.subject(MODEL)], after):
                assert isinstance(received.event, ModelServing)
                serving[received.event.worker] = received.event
                if len(serving) == 2:
                    break
    return serving


def other_version(stack: RunningStack) -> str:
    return "1" if workers(stack)[0] == "2" else "2"


def set_alias(stack: RunningStack, version: str) -> None:
    url = f"{stack.state.urls['mlflow']}/api/2.0/mlflow/registered-models/alias"
    alias = {"name": MODEL, "alias": "champion", "version": version}
    httpx.post(url, json=alias, timeout=30).raise_for_status()


def set_stage(stack: RunningStack, version: str) -> None:
    script = (
        "import mlflow, sys; mlflow.MlflowClient().transition_model_version_stage("
        "sys.argv[1], sys.argv[2], 'Production', archive_existing_versions=True)"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, MODEL, version]
    subprocess.run(command, env=stack.environment, check=True, timeout=60)


@pytest.mark.parametrize("change", [set_alias, set_stage], ids=["alias over REST", "stage with MLflow's client"])
async def test_a_change_made_in_mlflow_swaps_every_worker(
    stack: RunningStack, change: Callable[[RunningStack, str], None]
) -> None:
    wanted = other_version(stack)
    serving = await served_after(stack, lambda: change(stack, wanted))
    assert {event.version for event in serving.values()} == {wanted}
    assert set(workers(stack).values()) == {wanted}
    print(f"{change.__name__}: commit to serving", {worker: f"{e.delay_ms:.1f} ms" for worker, e in serving.items()})


async def test_alias_and_stage_agree_afterwards(stack: RunningStack) -> None:
    wanted = other_version(stack)
    await served_after(stack, lambda: set_alias(stack, wanted))
    url = f"{stack.state.urls['mlflow']}/api/2.0/mlflow/model-versions/get"

    def in_production() -> bool:
        answer = httpx.get(url, params={"name": MODEL, "version": wanted}, timeout=30).json()
        return bool(answer["model_version"]["current_stage"] == "Production")

    await asyncio.to_thread(wait_for, "the champion to be in stage Production", in_production)


@pytest.mark.parametrize("example", ["01_request_training.py", "03_predict.py"])
def test_examples_that_end(stack: RunningStack, example: str) -> None:
    command = [sys.executable, str(ROOT / "examples" / example)]
    done = subprocess.run(command, env=stack.environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "version" in done.stdout


def test_the_example_that_follows_promotions(stack: RunningStack) -> None:
    command = [sys.executable, str(ROOT / "examples" / "02_follow_promotions.py")]
    with subprocess.Popen(command, env=stack.environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert re.match(r"heart-disease version \d+ by .+: .+", process.stdout.readline())
        finally:
            process.kill()


def test_the_command_line_trains_predicts_and_lists(stack: RunningStack) -> None:
    refused = stack.baton(
        "train", MODEL, "-r", "random-forest", "-p", "n_estimators=1", "-p", "max_depth=1", "--wait", "--json"
    )
    assert refused.returncode == 3, refused.stderr
    outcome = json.loads(refused.stdout)
    assert outcome["decided"]["verdict"] == "refused"
    predicted = json.loads(stack.baton("predict", json.dumps(PATIENT), "--json").stdout)
    assert predicted["model"] == MODEL
    models = json.loads(stack.baton("models", "--json").stdout)["models"]
    assert [entry["model"] for entry in models] == [MODEL]


def test_watch_prints_events_as_they_happen(stack: RunningStack) -> None:
    command = [BATON, "watch", "--json", "--data-dir", str(stack.data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert "watching" in process.stderr.readline()
            stack.baton("train", MODEL, "-r", "no-such-recipe", "--wait")
            kinds = [json.loads(process.stdout.readline())["type"] for _ in range(3)]
        finally:
            process.kill()
    assert kinds == ["train.requested", "run.started", "run.progress"]


def test_logs_are_kept_per_service(stack: RunningStack) -> None:
    assert "finished" in stack.baton("logs", "trainer").stdout
    unknown = stack.baton("logs", "no-such")
    assert unknown.returncode == 1
    assert "trainer" in unknown.stderr


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["-r", "no-such-recipe"], "recipe"),
        (["-r", "random-forest", "-p", "n_estimators=many"], "params.n_estimators"),
        (["-r", "random-forest", "--target", "no_such_column"], "target"),
    ],
)
def test_a_request_that_cannot_be_carried_out_fails_with_its_field(
    stack: RunningStack, words: list[str], field: str
) -> None:
    failed = stack.baton("train", MODEL, *words, "--wait", "--json")
    assert failed.returncode == 1, failed.stderr
    assert json.loads(failed.stdout)["failed"]["field"] == field


def test_the_example_of_a_notebook(stack: RunningStack) -> None:
    test_examples_that_end(stack, "04_promote_a_notebook_model.py")


def processes_of(stack: RunningStack) -> dict[str, psutil.Process]:
    """Return each child of the stack, and one of the predictor's workers."""
    found = {name: psutil.Process(pid) for name, pid in stack.state.children.items()}
    found["a predictor's worker"] = next(
        child for child in found["predictor"].children() if "spawn_main" in " ".join(child.cmdline())
    )
    return found


CHILDREN = ["nats", "postgres", "mlflow", "trainer", "promoter", "predictor", "a predictor's worker"]


@pytest.mark.parametrize("child", CHILDREN)
def test_a_killed_child_heals_and_a_request_published_right_after_ends_served(stack: RunningStack, child: str) -> None:
    model = f"after {child} was killed"  # without a champion, so that what is trained must be promoted
    processes_of(stack)[child].kill()
    done = stack.baton("train", MODEL, "-m", model, "-r", "logistic-regression", "--wait", "--json", timeout=180)
    assert done.returncode == 0, done.stderr
    wait_for(f"both workers to serve {model}", lambda: set(workers(stack, model).values()) == {"1"})
    answer = httpx.post(f"{stack.state.urls['predictor']}/models/{model}/predict", json=PATIENT).json()
    assert (answer["model"], answer["version"]) == (model, "1")


def test_after_ctrl_c_nothing_is_left(tmp_path: Path, stack: RunningStack) -> None:
    family = psutil.Process(stack.process.pid).children(recursive=True)
    assert len(family) > 6
    os.kill(stack.process.pid, signal.SIGINT)
    assert stack.process.wait(60) == 0
    wait_until_ended(family)
