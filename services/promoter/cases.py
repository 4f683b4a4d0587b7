"""Cases: what asks the promoter for a decision, a finished run or a command."""

from dataclasses import dataclass
from typing import Literal

from shared.errors import EventError
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
    fault: str = ""


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
        source_event,
        model,
        version,
        source_event,
        action,
        event.actor,
        event.reason,
        event.keep,
        by,
        final=final,
        fault=_fault(action, version, event.keep),
    )


def case_of_malformed(source_event: str, model: str, error: EventError) -> Case:
    """Ask to refuse a command that cannot be read, naming what is wrong with it."""
    return Case(source_event, model, "", source_event, actor="unknown", fault=str(error))


def _fault(action: Action, version: str, keep: int | None) -> str:
    """Say which field of a well-formed command does not go with its action."""
    if action == "cleanup" and keep is None:
        return "keep: cleanup asks how many of the newest versions to keep, at least 1"
    if action != "cleanup" and keep is not None:
        return f"keep: {action} deletes nothing; only cleanup takes it"
    if action in ("unfreeze", "cleanup") and version:
        return f"version: {action} is about the whole model, and takes none"
    if (action == "rollback" and version == AUTO) or (action == "approve" and version in (AUTO, PREVIOUS)):
        return f"version: {action} takes a number or nothing, not {version!r}"
    return ""


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
