"""Evidence: what a run left behind, as plain values for the checks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Ending:
    """A stored `run.finished` (with its version) or `run.failed` (without)."""

    request: str
    event_id: str
    version: str | None


@dataclass(frozen=True)
class Registered:
    """A version in MLflow that carries a request's id; copies of one have its run."""

    request: str
    version: str
    run_id: str


@dataclass(frozen=True)
class Witnessed:
    """A row of the witness, in the order of commits; no version: the alias was deleted."""

    transaction: int
    model: str
    version: str | None


@dataclass(frozen=True)
class Captured:
    """A row of the ledger's outbox."""

    model: str
    generation: int
    version: str | None
    decision: str | None = None


@dataclass(frozen=True)
class Published:
    """A stored `model.promoted` or `model.withdrawn`, or the promoter's `model.rejected` instead."""

    model: str
    generation: int
    version: str | None
    rejected: bool = False


@dataclass(frozen=True)
class Report:
    """A stored `model.serving`; `at` in seconds since the epoch, by the server's clock."""

    predictor: str
    worker: int
    model: str
    generation: int
    at: float


@dataclass(frozen=True)
class Decided:
    """A row of the ledger's decisions; `open` says that its promotion was never carried out nor given up."""

    id: str
    source_event: str
    superseded: bool
    open: bool = False


@dataclass(frozen=True)
class Staged:
    """A version with its stage in MLflow."""

    model: str
    version: str
    stage: str


Serving = Mapping[str, tuple[str, int]]
"""What a worker serves: version and generation by model."""


@dataclass(frozen=True)
class Evidence:
    """All of it about the models of a run; `requests` are ids of train requests, `commands` event ids of commands."""

    models: Sequence[str] = ()
    requests: Sequence[str] = ()
    commands: Sequence[str] = ()
    endings: Sequence[Ending] = ()
    registered: Sequence[Registered] = ()
    witnessed: Sequence[Witnessed] = ()
    captured: Sequence[Captured] = ()
    published: Sequence[Published] = ()
    reports: Sequence[Report] = ()
    worker_starts: Sequence[float] = ()
    decided: Sequence[Decided] = ()
    announced: Sequence[str] = ()
    staged: Sequence[Staged] = ()
    serving: Mapping[str, Serving] = field(default_factory=dict)
