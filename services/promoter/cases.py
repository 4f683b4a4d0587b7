"""Cases: what asks the promoter for a decision, a finished run or a command."""

from dataclasses import dataclass
from typing import Literal

from shared.events import Action, ModelRejected, PromotionRequested, RunFinished

PROMOTER = "promoter"
AUTO, PREVIOUS = "auto", "previous"


@dataclass(frozen=True)
class Case:
    """One event that asks for a decision.

    `version` is a number, `auto` (the best), `previous`, or empty where the action finds it; `final` asks to decide
    even where a retry might still help. `by` says who wants it: the policy judges, a person commands, and the fleet
    takes back what it cannot serve, the `generation` and no other.
    """

    source_event: str
    model: str
    version: str
    request_id: str
    action: Action = "promote"
    actor: str = PROMOTER
    reason: str = ""
    keep: int | None = None
    by: Literal["policy", "hand", "fleet"] = "hand"
    generation: int | None = None
    final: bool = False


def case_of_run(source_event: str, model: str, event: RunFinished, *, final: bool) -> Case:
    """Ask whether a finished run's version is better than the champion."""
    return Case(source_event, model, event.version, event.request_id, by="policy", final=final)


def case_of_request(source_event: str, model: str, event: PromotionRequested, *, final: bool) -> Case:
    """Ask for what a command names; to promote the previous version is to roll back."""
    action, version = event.action, event.version
    if action == "promote":
        version = version or AUTO
        action = "rollback" if version == PREVIOUS else action
    by: Literal["policy", "hand"] = "policy" if action == "promote" and version == AUTO else "hand"
    return Case(
        source_event, model, version, source_event, action, event.actor, event.reason, event.keep, by, final=final
    )


def case_of_rejection(model: str, event: ModelRejected) -> Case:
    """Ask to take back a generation that the fleet does not serve; however many say so, it is one case."""
    source_event = f"rejected:{event.ledger}:{model}:{event.generation}"
    reason = f"version {event.version} was rejected by {event.predictor} ({event.check}): {event.message}"
    return Case(
        source_event,
        model,
        PREVIOUS,
        source_event,
        action="rollback",
        reason=reason,
        by="fleet",
        generation=event.generation,
    )
