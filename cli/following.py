"""Publishing a command and following it to its end: what the promoter decided, and what became of that."""

from dataclasses import dataclass, field
from typing import Any

from cli import output
from cli.sentences import sentence
from shared.bus import NatsBus
from shared.errors import BatonError, UnreachableError
from shared.event import Event, Stream, subject_token
from shared.events import ModelRejected, ModelServing, PromotionDecided
from shared.follow import follow, last_sequence
from shared.patience import patiently
from shared.tasks import within


@dataclass
class Outcome:
    """How a command ended: decided, and if a version was promoted, served or rejected."""

    request_id: str
    decided: PromotionDecided | None = None
    rejected: ModelRejected | None = None
    serving: list[ModelServing] = field(default_factory=list)
    gave_up: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing more will be said about the command."""
        if self.decided is not None and self.decided.verdict == "promoted":
            return bool(self.serving) or self.rejected is not None
        return self.decided is not None

    @property
    def exit_code(self) -> int:
        """0 done (or awaiting approval), 1 rejected by the predictors, 3 refused, 4 waited in vain."""
        if self.gave_up:
            return output.UNREACHABLE
        if self.rejected is not None:
            return output.FAILED
        return output.REFUSED if self.decided is None or self.decided.verdict == "refused" else output.DONE

    @property
    def missing(self) -> str:
        """What is waited for, and where to look when it does not come."""
        if self.decided is None:
            return "no promoter decided: see `baton logs promoter`"
        return (
            f"version {self.decided.version} was promoted and no predictor said that it serves it: see `baton status`"
        )

    @property
    def followed(self) -> list[str]:
        """The types of events to follow."""
        return [PromotionDecided.type, ModelServing.type, ModelRejected.type]

    def take(self, event: Event) -> bool:
        """Note an event; return whether it is about this command."""
        match event:
            case PromotionDecided(request_id=self.request_id):
                self.decided = event
            case ModelServing() if self._promoted(event):
                self.serving.append(event)
            case ModelRejected() if self._promoted(event):
                self.rejected = event
            case _:
                return getattr(event, "request_id", None) == self.request_id
        return True

    def _promoted(self, event: ModelServing | ModelRejected) -> bool:
        decided = self.decided
        return (
            decided is not None
            and decided.verdict == "promoted"
            and event.version == decided.version
            and event.generation > decided.generation
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as the JSON that `--json` prints."""
        events: dict[str, Event | None] = {
            "decided": self.decided,
            "serving": self.serving[0] if self.serving else None,
            "rejected": self.rejected,
        }
        vain = {"gave_up": self.gave_up} if self.gave_up else {}
        return {"request_id": self.request_id} | dumped(events) | vain


def dumped(events: dict[str, Event | None]) -> dict[str, Any]:
    """Return the data of those events that there are."""
    return {name: event.model_dump(mode="json") for name, event in events.items() if event is not None}


async def send(bus: NatsBus, model: str, command: Event, outcome: Outcome, wait_s: float | None) -> None:
    """Publish a command, and follow it to its end if there is time for that.

    Raise `UnreachableError` saying what was waited for in vain.
    """
    after = await newest(bus) if wait_s else 0
    await bus.publish(command, model, event_id=outcome.request_id)
    if not wait_s:
        return
    try:
        await within(wait_s, follow_outcome(bus, model, outcome, after))
    except TimeoutError as error:
        message = f"request {outcome.request_id} did not end within {wait_s:.0f} s: {outcome.missing}"
        raise UnreachableError(message) from error


async def newest(bus: NatsBus) -> int:
    """Return where to follow from; after a server's death the others take seconds to agree on who knows."""
    return await patiently(lambda: last_sequence(bus.js, Stream.LIFECYCLE), "it is not known what was said last")


async def follow_outcome(bus: NatsBus, model: str, outcome: Outcome, after: int) -> None:
    """Print what happens to a command until it is over."""
    subjects = [f"{kind}.{subject_token(model)}" for kind in outcome.followed]
    async for received in follow(bus, Stream.LIFECYCLE, subjects, after):
        if outcome.take(received.event):
            output.err.print(f"  {sentence(received.event)}", markup=False)
        if outcome.over:
            return
    raise BatonError("the connection to NATS was closed")
