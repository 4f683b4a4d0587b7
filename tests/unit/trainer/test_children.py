"""Children: how a job ends, seen from the trainer. Real forks; none of these jobs gets as far as MLflow."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from services.trainer.children import Children
from services.trainer.job import Job, Progress
from services.trainer.settings import HEART_DISEASE
from shared.errors import RequestError, TrainingError, UnreachableError

pytestmark = pytest.mark.timeout(90)  # the first child waits for the server's imports

RECIPES = """
import os, signal, time
from services.trainer.recipes import TrainingData, recipe

@recipe("exits")
def exits(data): os._exit(3)

@recipe("killed")
def killed(data): os.kill(os.getpid(), signal.SIGKILL)

@recipe("raises")
def raises(data): raise ValueError("no such luck" * 1000)

@recipe("greedy")
def greedy(data): return bytearray(2 << 30)

@recipe("forgets")
def forgets(data): pass

@recipe("sleeps")
def sleeps(data): time.sleep(300)
"""


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "own.py").write_text(RECIPES)
    return folder


@pytest.fixture
def children() -> Children:
    children = Children(timeout_s=60)
    children.warm_up()
    return children


async def ignore(_: Progress) -> None:
    pass


def job(recipes: Path, recipe: str, memory_mb: int | None = None, request_id: str = "r") -> Job:
    return Job(
        request_id=request_id, model="m", recipe=recipe, dataset="heart-disease", target=None, params={}, seed=0,
        tags={}, folder=recipes, tracking_uri="http://127.0.0.1:9", datasets={"heart-disease": HEART_DISEASE},
        data_roots=[], recipes_dir=recipes, memory_mb=memory_mb,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("recipe", "kind", "words"),
    [
        ("exits", "crashed", "exit code 3"),
        ("killed", "crashed", f"exit code -{signal.SIGKILL}"),
        ("raises", "failed", "ValueError: no such luck"),
        ("greedy", "failed", "more memory than the 1500 MB"),
        ("forgets", "failed", "forgets returned NoneType"),
    ],
)
async def test_an_ending_is_told_by_its_kind(
    children: Children, recipes: Path, recipe: str, kind: str, words: str
) -> None:
    with pytest.raises(TrainingError, match=words) as raised:
        await children.train(job(recipes, recipe, memory_mb=1500), ignore)
    assert raised.value.kind == kind


async def test_a_request_that_is_wrong_names_its_field(children: Children, recipes: Path) -> None:
    with pytest.raises(RequestError, match="there is no recipe") as raised:
        await children.train(job(recipes, "no-such"), ignore)
    assert raised.value.field == "recipe"


async def test_a_training_that_takes_too_long_is_ended(recipes: Path) -> None:
    with pytest.raises(TrainingError, match=r"longer than 0\.5 s") as raised:
        await Children(timeout_s=0.5).train(job(recipes, "sleeps"), ignore)
    assert raised.value.kind == "timeout"


async def test_a_cancel_touches_one_job_only(children: Children, recipes: Path) -> None:
    fitting = {name: asyncio.Event() for name in ("one", "two")}

    async def run(name: str) -> None:
        async def on_progress(progress: Progress) -> None:
            if progress.message.startswith("fit"):
                fitting[name].set()

        await children.train(job(recipes, "sleeps", request_id=name), on_progress)

    jobs = {name: asyncio.create_task(run(name)) for name in fitting}
    async with asyncio.timeout(60):
        for event in fitting.values():
            await event.wait()
        children.cancel("one", "cancelled by me")
        with pytest.raises(TrainingError, match="cancelled by me") as raised:
            await jobs["one"]
        assert raised.value.kind == "cancelled"
        assert not jobs["two"].done()
        children.stop()
        with pytest.raises(UnreachableError, match="another one takes"):
            await jobs["two"]


async def test_progress_is_told_in_order(children: Children, recipes: Path) -> None:
    told: list[Progress] = []

    async def on_progress(progress: Progress) -> None:
        told.append(progress)

    with pytest.raises(TrainingError):
        await children.train(job(recipes, "raises"), on_progress)
    assert [(p.step, p.of) for p in told] == [(1, 6), (2, 6)]
    assert told[1].message.startswith("fit raises on 2")


async def test_what_a_job_does_is_not_done_in_the_trainer(children: Children, recipes: Path) -> None:
    with pytest.raises(TrainingError):
        await children.train(job(recipes, "forgets"), ignore)
    assert "baton_recipes_own" not in sys.modules
