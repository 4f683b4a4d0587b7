"""The catalogue of events: what travels on the bus, on which subject, in which stream.

Facts are named in the past tense, commands in the imperative's participle (`train.requested`). The wire form is
CloudEvents 1.0 in binary mode (`shared/cloudevents.py`): the body is the event's data as plain JSON, the attributes are
headers. The subject ends in the model's name as one token.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.errors import EventError
from shared.event import Event, Stream, model_name


class BundleRef(BaseModel):
    """Where a bundle is: its name in the object store, its digest (`sha256:...`) and its size in bytes."""

    model_config = ConfigDict(frozen=True)

    object: str
    digest: str
    size: int


class HoldoutRef(BaseModel):
    """Where a version's held-out rows are: path of the run's artifact, its SHA-256 digest, how many rows."""

    model_config = ConfigDict(frozen=True)

    artifact: str
    digest: str
    rows: int


# A key of NATS's key-value store and the name of a folder; `shared/delivery.py` makes one of any event's id.
RequestId = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_=-]+(\.[A-Za-z0-9_=-]+)*$")]


class TrainRequested(Event):
    """Command: train a model with a recipe on a dataset.

    `request_id` identifies the request for ever; without it the stream sequence does. A request ends in exactly one
    `run.finished` or `run.failed`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    type = "train.requested"
    stream = Stream.TRAINING

    recipe: str = Field(min_length=1, examples=["random-forest"])
    dataset: str = Field(min_length=1, examples=["heart-disease"])
    target: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0, lt=2**32)
    tags: dict[str, str] = Field(default_factory=dict)
    request_id: RequestId | None = None


class TrainCancelled(Event):
    """Command: stop a training wherever it runs, or before it starts."""

    type = "train.cancelled"
    stream = Stream.LIFECYCLE

    request_id: RequestId
    actor: str
    reason: str = ""


class RunStarted(Event):
    """Fact: a trainer began to work on a request."""

    type = "run.started"
    stream = Stream.LIFECYCLE

    request_id: str
    attempt: int
    recipe: str
    dataset: str


class RunProgress(Event):
    """Fact: a training reached step `step` of `of`."""

    type = "run.progress"
    stream = Stream.LIFECYCLE

    request_id: str
    step: int
    of: int
    message: str


class RunFinished(Event):
    """Fact: a run ended with a registered model version and a stored bundle."""

    type = "run.finished"
    stream = Stream.LIFECYCLE

    request_id: str
    run_id: str
    version: str
    metrics: dict[str, float]
    bundle: BundleRef
    holdout: HoldoutRef | None = None


class RunFailed(Event):
    """Fact: a request ended without a version.

    `kind` is one of `malformed`, `refused`, `failed`, `crashed`, `timeout`, `cancelled`, `unsupported`.
    """

    type = "run.failed"
    stream = Stream.LIFECYCLE

    request_id: str
    kind: str
    message: str
    field: str = ""
    attempts: int = 1


Action = Literal["promote", "approve", "rollback", "unfreeze", "cleanup"]


class PromotionRequested(Event):
    """Command: change the champion, or what may change it. Each command ends in exactly one `promotion.decided`.

    - `promote` makes `version` the champion: a number, or `auto` (the policy judges the best version).
    - `approve` carries out what the policy left to a person: the newest such decision, or the one on `version`.
    - `rollback` goes back to `version`, or to the champion before (`previous`), and freezes automatic promotion.
    - `unfreeze` lets the policy promote again.
    - `cleanup` deletes old versions with their bundles, all but the newest `keep`.

    A field that it does not know is refused: a misspelt `version` would have the policy choose one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    type = "promotion.requested"
    stream = Stream.COMMANDS

    action: Action = "promote"
    version: str = Field(default="", pattern=r"^(auto|previous|[0-9]{1,9})?$")
    actor: str = Field(min_length=1)
    reason: str = ""
    keep: int | None = Field(default=None, ge=1, description="cleanup: how many versions to keep")


class RuleOutcome(BaseModel):
    """What one rule of the policy said: the value it saw, the threshold, and the sentence for people."""

    model_config = ConfigDict(frozen=True)

    rule: str
    passed: bool
    value: float | None = None
    threshold: float | None = None
    message: str


class DeletedVersion(BaseModel):
    """A version that a cleanup deletes, with the bundle that goes too unless another version needs it."""

    model_config = ConfigDict(frozen=True)

    version: str
    run_id: str | None = None
    bundle: BundleRef | None = None


class PromotionDecided(Event):
    """Fact: the promoter decided on a finished run or a command; `reason` is one sentence.

    `verdict` is `promoted`, `refused`, `awaiting` (a person has to approve) or `done` (for commands that promote
    nothing); `generation` is the model's when it was judged; `version` is empty where none is concerned; `deleted` is
    what a cleanup deleted.
    """

    type = "promotion.decided"
    stream = Stream.LIFECYCLE

    decision: str
    request_id: str
    action: Action = "promote"
    actor: str = "promoter"
    version: str
    champion: str | None
    generation: int = 0
    verdict: Literal["promoted", "refused", "awaiting", "done"]
    reason: str
    rules: list[RuleOutcome]
    challenger_metrics: dict[str, float]
    champion_metrics: dict[str, float] | None = None
    deleted: list[DeletedVersion] = Field(default_factory=list)


class ChampionEvent(Event):
    """What both facts about a champion carry: the place in the model's order of changes.

    Generations grow by one per change and are comparable within one ledger only.
    """

    stream = Stream.CHAMPIONS

    generation: int
    ledger: str
    actor: str
    reason: str
    committed_at: datetime


class ModelPromoted(ChampionEvent):
    """Fact: a version became champion. `committed_at` is PostgreSQL's clock in the committing transaction.

    `request_id` is the train request or the command that it goes back to, or, made in MLflow by hand, its own id.
    """

    type = "model.promoted"

    version: str
    run_id: str | None = None
    previous: str | None = None
    bundle: BundleRef
    decision: str | None = None
    request_id: str | None = None


class ModelWithdrawn(ChampionEvent):
    """Fact: a model has no champion any more (the alias, version or model was deleted)."""

    type = "model.withdrawn"

    previous: str | None = None


class ModelServing(Event):
    """Fact: a predictor's worker answers with a version. Durations in milliseconds.

    `delay_ms` runs from the commit to the first request answerable by the version; it compares two clocks and means
    something only where they are one machine's.
    """

    type = "model.serving"
    stream = Stream.LIFECYCLE

    predictor: str
    worker: int
    version: str
    generation: int
    ledger: str
    prefetched: bool
    load_ms: float
    verify_ms: float
    swap_ms: float
    delay_ms: float


Check = Literal["download", "digest", "load", "schema", "warm_up", "golden", "deadline"]


class ModelRejected(Event):
    """Fact: a version could not be served; `check` says what it did not pass. The old model goes on serving."""

    type = "model.rejected"
    stream = Stream.LIFECYCLE

    predictor: str
    worker: int
    version: str
    generation: int
    ledger: str
    check: Check
    message: str


class ServedModel(BaseModel):
    """One line of a heartbeat; what is not `loaded` is loaded for whoever asks for it first."""

    model_config = ConfigDict(frozen=True)

    model: str
    version: str
    generation: int
    loaded: bool = True


class PredictorAlive(Event):
    """Heartbeat of one worker, a core message with a time to live; it names no model in its subject.

    `only` lists the models that its settings let it serve, None being all.
    """

    type = "predictor.alive"
    stream = None

    predictor: str
    worker: int
    models: list[ServedModel]
    only: list[str] | None = None
    ttl_s: float

    @classmethod
    def subject(cls, model: str) -> str:
        """Return the one subject of all heartbeats."""
        return cls.type


class ChampionWanted(Event):
    """A nudge, a core message: who has not read this generation of a model's champion is to read its changes again."""

    type = "champions.wanted"
    stream = None

    generation: int
    ledger: str


CATALOGUE: tuple[type[Event], ...] = (
    TrainRequested,
    TrainCancelled,
    RunStarted,
    RunProgress,
    RunFinished,
    RunFailed,
    PromotionRequested,
    PromotionDecided,
    ModelPromoted,
    ModelWithdrawn,
    ModelServing,
    ModelRejected,
)
BY_TYPE: dict[str, type[Event]] = {event.type: event for event in CATALOGUE}


def parse(subject: str, body: bytes) -> tuple[str, Event]:
    """Read any event of the catalogue from its subject and body; return the model's name and the event."""
    kind = subject.rsplit(".", 1)[0]
    if kind not in BY_TYPE:
        raise EventError(f"no event of the catalogue has the subject {subject}")
    return model_name(subject), BY_TYPE[kind].parse(body)
