"""Train requests: exactly one end, at most one version, whatever happens and whenever it is delivered again."""

from pathlib import Path
from typing import Any

import pytest

from services.trainer.children import Children, OnProgress
from services.trainer.job import Job, Progress, Trained
from services.trainer.requests import Request, Requests, readable_id
from services.trainer.settings import TrainerSettings
from shared.bus import Published, RequestState
from shared.errors import EventError, RegistryError, RequestError, TrainingError, UnreachableError
from shared.event import Event
from shared.events import BundleRef, HoldoutRef, RunFailed, RunFinished, TrainCancelled, TrainRequested
from shared.registry import Registry
from shared.versions import TAG_BUNDLE, TAG_HOLDOUT, Version

BUNDLE = BundleRef(object="sha256-1", digest="sha256:1", size=3)
HOLDOUT = HoldoutRef(artifact="baton/holdout.parquet", digest="sha256:2", rows=4)
REQUEST = Request("r", "m", TrainRequested(recipe="a", dataset="b"))


class FakeBus:
    """Keeps what it is given; `broken` names a method that fails once."""

    def __init__(self) -> None:
        self.states: dict[str, RequestState] = {}
        self.stored: dict[str, Event] = {}
        self.broken = ""

    async def publish(self, event: Event, model: str, *, event_id: str | None = None, **_: Any) -> Published:
        self._break("publish:" + event.type)
        key = event_id or f"no id {len(self.stored)}"
        duplicate = key in self.stored
        self.stored.setdefault(key, event)
        return Published(1, duplicate)

    async def put_bundle(self, archive: Path, digest: str) -> BundleRef:
        self._break("put_bundle")
        return BUNDLE

    async def request_state(self, request_id: str) -> RequestState | None:
        return self.states.get(request_id)

    async def set_request_state(self, request_id: str, state: RequestState) -> None:
        self._break("state:" + state.state)
        self.states[request_id] = state

    def _break(self, point: str) -> None:
        if self.broken == point:
            self.broken = ""
            raise UnreachableError(f"{point} is broken")

    @property
    def ends(self) -> list[Event]:
        return [event for event in self.stored.values() if isinstance(event, RunFinished | RunFailed)]


class FakeRegistry:
    """Counts versions; `broken` is raised by the next registration."""

    check_name = staticmethod(Registry.check_name)

    def __init__(self) -> None:
        self.versions: list[Version] = []
        self.broken: Exception | None = None

    def version_of_request(self, model: str, request_id: str) -> Version | None:
        return self.versions[0] if self.versions else None

    def register(self, model: str, *, source: str, run_id: str, model_id: str | None, tags: dict[str, str]) -> Version:
        assert {TAG_BUNDLE, TAG_HOLDOUT} <= tags.keys()
        if self.broken:
            error, self.broken = self.broken, None
            raise error
        self.versions.append(Version(model, str(len(self.versions) + 1), run_id, "None", BUNDLE, HOLDOUT, tags))
        return self.versions[-1]

    def metrics(self, run_id: str) -> dict[str, float]:
        return {"roc_auc": 0.9}


class FakeChildren(Children):
    """Ends each job with the next of `endings`."""

    def __init__(self, *endings: Exception | None) -> None:
        self.endings = list(endings)
        self.jobs = 0

    async def train(self, job: Job, on_progress: OnProgress) -> Trained:
        self.jobs += 1
        await on_progress(Progress(1, 6, "load"))
        ending = self.endings.pop(0) if self.endings else None
        if ending is not None:
            raise ending
        return Trained("run", None, "models:/m-1", "heart-disease", job.folder / "bundle.tar", "sha256:1", HOLDOUT)


class Case:
    """A trainer whose surroundings are fakes."""

    def __init__(self, folder: Path, *endings: Exception | None) -> None:
        self.bus, self.registry, self.children = FakeBus(), FakeRegistry(), FakeChildren(*endings)
        settings = TrainerSettings(trainer_dir=folder, max_attempts=3)
        self.requests = Requests(self.bus, self.registry, self.children, settings)  # type: ignore[arg-type]

    async def deliver(self, request: Request = REQUEST, at_most: int = 10) -> int:
        """Deliver a request until it is acknowledged; return how often that was."""
        for delivery in range(1, at_most + 1):
            try:
                await self.requests.settle(request)
            except Exception:  # as the middleware does
                continue
            return delivery
        pytest.fail(f"not settled after {at_most} deliveries")


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


async def test_a_training_ends_finished_with_what_the_registry_knows(case: Case) -> None:
    assert await case.deliver() == 1
    assert case.bus.ends == [
        RunFinished(request_id="r", run_id="run", version="1", metrics={"roc_auc": 0.9}, bundle=BUNDLE, holdout=HOLDOUT)
    ]
    assert case.bus.states["r"].state == "finished"
    assert not list(case.requests._settings.trainer_dir.iterdir())


async def test_a_request_that_ended_is_not_carried_out_again(case: Case) -> None:
    await case.deliver()
    assert await case.deliver() == 1
    assert (case.children.jobs, len(case.registry.versions), len(case.bus.ends)) == (1, 1, 1)


@pytest.mark.parametrize(
    "broken",
    ["state:started", "publish:run.started", "publish:run.progress", "put_bundle", "publish:run.finished",
     "state:finished"],
)  # fmt: skip
async def test_a_bus_that_breaks_anywhere_leaves_one_end_and_one_version(case: Case, broken: str) -> None:
    case.bus.broken = broken
    assert await case.deliver() == 2
    assert (len(case.registry.versions), len(case.bus.ends)) == (1, 1)
    assert case.bus.states["r"].state == "finished"


async def test_what_nobody_foresaw_is_tried_again_but_not_for_ever(tmp_path: Path) -> None:
    case = Case(tmp_path, *[ValueError("a bug")] * 9)
    assert await case.deliver() == 3
    (failed,) = case.bus.ends
    assert isinstance(failed, RunFailed)
    assert (failed.kind, failed.message, failed.attempts) == ("failed", "a bug", 3)


@pytest.mark.parametrize("broken", ["publish:run.failed", "state:failed"])
async def test_a_failure_that_was_decided_stays_one(tmp_path: Path, broken: str) -> None:
    case = Case(tmp_path, TrainingError("out of luck"), None)
    case.bus.broken = broken
    assert await case.deliver() == 2
    assert [end.type for end in case.bus.ends] == ["run.failed"]
    assert (case.children.jobs, case.registry.versions) == (1, [])


@pytest.mark.parametrize(
    ("ending", "kind", "field"),
    [
        (RequestError("wrong", "params.C"), "refused", "params.C"),
        (TrainingError("x"), "failed", ""),
        (TrainingError("x", "timeout"), "timeout", ""),
        (TrainingError("x", "cancelled"), "cancelled", ""),
        (TrainingError("x", "unsupported"), "unsupported", ""),
    ],
)
async def test_what_would_fail_again_fails_at_once(tmp_path: Path, ending: Exception, kind: str, field: str) -> None:
    case = Case(tmp_path, ending)
    assert await case.deliver() == 1
    assert case.bus.ends == [RunFailed(request_id="r", kind=kind, message=str(ending), field=field)]
    assert case.bus.states["r"].state == "failed"


async def test_a_crash_is_tried_again_and_may_succeed(tmp_path: Path) -> None:
    case = Case(tmp_path, TrainingError("gone", "crashed"), None)
    assert await case.deliver() == 2
    assert [end.type for end in case.bus.ends] == ["run.finished"]


async def test_a_training_that_always_crashes_fails_in_the_end(tmp_path: Path) -> None:
    case = Case(tmp_path, *[TrainingError("gone", "crashed")] * 5)
    assert await case.deliver() == 3
    assert case.bus.ends == [RunFailed(request_id="r", kind="crashed", message="gone", attempts=3)]


async def test_outages_do_not_count_as_attempts(tmp_path: Path) -> None:
    outages = [UnreachableError("MLflow is away")] * 5
    case = Case(tmp_path, *outages, TrainingError("gone", "crashed"), None)
    assert await case.deliver() == 7
    assert [end.type for end in case.bus.ends] == ["run.finished"]


async def test_who_registers_second_says_what_the_first_did(case: Case) -> None:
    case.registry.broken = RegistryError("unique index")
    first = Version("m", "7", "other run", "None", BUNDLE, HOLDOUT)
    train = case.children.train

    async def train_meanwhile(job: Job, on_progress: OnProgress) -> Trained:
        case.registry.versions = [first]  # another trainer was faster
        return await train(job, on_progress)

    case.children.train = train_meanwhile  # type: ignore[method-assign]
    await case.deliver()
    assert case.registry.versions == [first]
    (end,) = case.bus.ends
    assert isinstance(end, RunFinished)
    assert (end.version, end.run_id) == ("7", "other run")


async def test_what_the_registry_refuses_ends_the_request(case: Case) -> None:
    case.registry.broken = RegistryError("MLflow refused it")
    assert await case.deliver() == 1
    assert case.bus.ends == [RunFailed(request_id="r", kind="refused", message="MLflow refused it")]


async def test_a_name_that_mlflow_does_not_take_is_refused_before_training(case: Case) -> None:
    await case.deliver(Request("r", "a/b", REQUEST.event))
    (end,) = case.bus.ends
    assert isinstance(end, RunFailed)
    assert (end.kind, case.children.jobs) == ("refused", 0)
    assert "a/b" in end.message


async def test_a_cancel_before_the_request_wins(case: Case) -> None:
    await case.requests.cancel(TrainCancelled(request_id="r", actor="me", reason="typo"))
    await case.deliver()
    assert case.bus.ends == [RunFailed(request_id="r", kind="cancelled", message="cancelled by me: typo")]
    assert case.children.jobs == 0


async def test_a_cancel_that_nobody_heard_live_still_prevents_the_version(case: Case) -> None:
    train = case.children.train

    async def train_meanwhile(job: Job, on_progress: OnProgress) -> Trained:
        await case.requests.cancel(TrainCancelled(request_id="r", actor="me"))
        return await train(job, on_progress)

    case.children.train = train_meanwhile  # type: ignore[method-assign]
    await case.deliver()
    assert case.bus.ends == [RunFailed(request_id="r", kind="cancelled", message="cancelled by me")]
    assert case.registry.versions == []


async def test_a_malformed_request_ends_once(case: Case) -> None:
    for _ in range(2):
        await case.requests.malformed("r", "m", EventError("train.requested is malformed", "recipe"))
    assert case.bus.ends == [
        RunFailed(request_id="r", kind="malformed", message="train.requested is malformed", field="recipe")
    ]


async def test_a_malformed_repetition_of_a_request_that_ended_changes_nothing(case: Case) -> None:
    await case.deliver()
    await case.requests.malformed("r", "m", EventError("train.requested is malformed"))
    assert [end.type for end in case.bus.ends] == ["run.finished"]


@pytest.mark.parametrize(
    ("body", "identity"),
    [
        (b'{"request_id": "a-1", "recipe": 7}', "a-1"),
        (b'{"request_id": "a.b"}', "a.b"),
        (b'{"request_id": "../etc"}', None),
        (b'{"request_id": "a..b"}', None),
        (b'{"request_id": "a."}', None),
        (b'{"request_id": 7}', None),
        (b"[]", None),
        (b"no json", None),
    ],
)
def test_the_id_is_read_where_it_can_be(body: bytes, identity: str | None) -> None:
    assert readable_id(body) == identity
