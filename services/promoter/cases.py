"""Cases: what asks the promoter for a decision, a finished run or a command."""

from dataclasses import dataclass

from shared.events import Action, PromotionRequested, RunFinished

PROMOTER = "promoter"
AUTO, PREVIOUS = "auto", "previous"


@dataclass(frozen=True)
class Case:
    """One event that asks for a decision.

    `version` is a number, `auto` (the best), `previous`, or empty where the action finds it; `final` asks to decide
    even where a retry might still help.
    """

    source_event: str
    model: str
    version: str
    request_id: str
    action: Action = "promote"
    actor: str = PROMOTER
    reason: str = ""
    keep: int | None = None
    by_policy: bool = False
    final: bool = False


def case_of_run(source_event: str, model: str, event: RunFinished, *, final: bool) -> Case:
    """Ask whether a finished run's version is better than the champion."""
    return Case(source_event, model, event.version, event.request_id, by_policy=True, final=final)


def case_of_request(source_event: str, model: str, event: PromotionRequested, *, final: bool) -> Case:
    """Ask for what a command names; to promote the previous version is to roll back."""
    action, version = event.action, event.version
    if action == "promote":
        version = version or AUTO
        action = "rollback" if version == PREVIOUS else action
    by_policy = action == "promote" and version == AUTO
    return Case(
        source_event, model, version, source_event, action, event.actor, event.reason, event.keep, by_policy, final
    )
