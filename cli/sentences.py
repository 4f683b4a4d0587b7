"""Each event as one line for people."""

from shared.event import Event
from shared.events import (
    ModelPromoted,
    ModelRejected,
    ModelServing,
    ModelWithdrawn,
    PromotionDecided,
    PromotionRequested,
    RunFailed,
    RunFinished,
    RunProgress,
    RunStarted,
    TrainCancelled,
    TrainRequested,
)

SHOWN_METRICS = ("roc_auc", "accuracy", "f1", "r2", "rmse")

TEMPLATES: dict[type[Event], str] = {
    TrainRequested: "requested: {e.recipe} on {e.dataset}",
    TrainCancelled: "{e.request_id} cancelled by {e.actor}",
    RunStarted: "training {e.recipe} on {e.dataset} (attempt {e.attempt})",
    RunProgress: "step {e.step} of {e.of}: {e.message}",
    RunFinished: "version {e.version} trained: {metrics}",
    RunFailed: "run failed ({e.kind}): {e.message}",
    PromotionRequested: "{what} requested by {e.actor}",
    PromotionDecided: "{what} {e.verdict}: {e.reason}",
    ModelPromoted: "version {e.version} is champion (generation {e.generation}) by {e.actor}: {e.reason}",
    ModelWithdrawn: "withdrawn (generation {e.generation}) by {e.actor}: {e.reason}",
    ModelServing: "version {e.version} serves on worker {e.worker}, {e.delay_ms:.1f} ms after the commit",
    ModelRejected: "version {e.version} rejected by worker {e.worker} ({e.check}): {e.message}",
}


def sentence(event: Event) -> str:
    """Say in one line what happened."""
    what = f"{getattr(event, 'action', '')} {getattr(event, 'version', '')}".strip()
    return TEMPLATES[type(event)].format(e=event, what=what, metrics=metrics(getattr(event, "metrics", {})))


def metrics(values: dict[str, float]) -> str:
    """Return the metrics that fit on a line."""
    return "  ".join(f"{name} {values[name]:.3f}" for name in SHOWN_METRICS if name in values)
