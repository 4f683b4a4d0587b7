"""What an event is: data with a type, a stream that keeps it, and a subject that ends in a model's name."""

from enum import StrEnum
from typing import ClassVar, Self
from urllib.parse import quote, unquote

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import EventError

SHOWN_FAULTS, LONGEST_NAME = 10, 100  # what is said of a malformed event must itself fit into one


class Stream(StrEnum):
    """JetStream streams; `shared/streams.py` says how each is configured."""

    TRAINING = "TRAINING"
    COMMANDS = "COMMANDS"
    LIFECYCLE = "LIFECYCLE"
    CHAMPIONS = "CHAMPIONS"


def subject_token(model: str) -> str:
    """Encode a model's name as one subject token; reversible (`model_name`).

    Characters outside `[A-Za-z0-9_-]` are percent-encoded, so that dots and wildcards cannot change the subject.
    """
    return quote(model, safe="").replace(".", "%2E").replace("~", "%7E")


def model_name(subject: str) -> str:
    """Return the model's name that a subject ends in."""
    return unquote(subject.rsplit(".", 1)[-1])


class Event(BaseModel):
    """The data of one event; `type` is the subject without the model's token."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    type: ClassVar[str]
    stream: ClassVar[Stream | None]

    @classmethod
    def subject(cls, model: str) -> str:
        """Return the subject of this event for a model."""
        return f"{cls.type}.{subject_token(model)}"

    @classmethod
    def all_subjects(cls) -> str:
        """Return the wildcard subject of this event for every model."""
        return f"{cls.type}.>"

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read an event from its JSON body; raise `EventError` naming the first field that is wrong."""
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise _event_error(cls.type, error) from error


def _event_error(kind: str, error: ValidationError) -> EventError:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    named = "; ".join(
        f"{'.'.join(map(str, f['loc']))[:100] or 'body'}: {f['msg'][:200]}" for f in faults[:SHOWN_FAULTS]
    )
    if len(faults) > SHOWN_FAULTS:
        named += f"; and {len(faults) - SHOWN_FAULTS} more"
    return EventError(f"{kind} is malformed: {named}", field=".".join(map(str, faults[0]["loc"]))[:100])
